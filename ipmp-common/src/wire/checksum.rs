//! The Internet checksum (RFC 1071).

/// The checksum of all `parts` laid end to end: the value to store in the header, or zero if the parts
/// already hold their right checksum. Every part but the last must have an even length.
pub fn internet_checksum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        let (words, rest) = part.as_chunks::<2>();
        sum = words
            .iter()
            .fold(sum, |sum, word| sum + u64::from(u16::from_be_bytes(*word)));
        if let [last] = rest {
            sum += u64::from(u16::from_be_bytes([*last, 0]));
        }
    }
    // Four foldings take any 64-bit sum into 16 bits.
    for _ in 0..4 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
