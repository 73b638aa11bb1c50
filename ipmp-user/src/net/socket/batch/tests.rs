use super::*;
use crate::net::socket::Frames;

fn request(size: usize) -> Request {
    Request { message: Body::Raw(NEW_NEXTHOP, vec![7; size]), flags: 0 }
}

#[test]
fn appended_requests_stay_whole_and_in_order() {
    let mut batch: Batch = [request(3), request(8)].into_iter().collect();
    batch.append(&[request(5)].into_iter().collect());
    let lengths: Vec<usize> = Frames(&batch.bytes).map(|frame| frame.payload.len()).collect();
    assert_eq!(lengths, [3, 8, 5]);
    let starts: Vec<usize> = batch.starts.clone();
    assert_eq!(starts, [0, 20, 44], "aligned to four bytes (NLMSG_ALIGN)");
}

#[test]
fn chunks_cover_every_request_once() {
    let count = 2 * CHUNK_REQUESTS + 3;
    let mut batch: Batch = (0..count).map(|_| request(8)).collect();
    let mut seen = 0;
    while seen < count {
        let (bytes, starts) = batch.chunk(seen);
        assert!(!starts.is_empty() && starts.len() <= CHUNK_REQUESTS);
        assert_eq!(Frames(&bytes[starts[0]..]).count(), starts.len());
        seen += starts.len();
    }
    assert_eq!(seen, count);
}
