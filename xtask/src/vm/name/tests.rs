use super::*;

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn releases_sort_by_their_numbers_not_their_letters() {
    let mut sorted = names(&[
        "6.12.117+deb13-amd64",
        "6.12.90+deb13.1-amd64",
        "6.12.117+deb12-amd64",
        "6.12.90+deb13-amd64",
        "6.1.0-56-amd64",
        "6.1.0-0.deb11.52-amd64",
    ]);
    sorted.sort();
    let texts: Vec<&str> = sorted.iter().map(Name::as_str).collect();
    assert_eq!(
        texts,
        [
            "6.1.0-0.deb11.52-amd64",
            "6.1.0-56-amd64",
            "6.12.90+deb13-amd64",
            "6.12.90+deb13.1-amd64",
            "6.12.117+deb12-amd64",
            "6.12.117+deb13-amd64",
        ]
    );
}

#[test]
fn meta_packages_and_special_kernels_are_no_releases() {
    for text in [
        "6.12-amd64",
        "amd64",
        "rt-amd64",
        "6.12.117+deb13-cloud-amd64",
        "6.12.117+deb13-amd64-unsigned",
        "6.1.0-56-arm64",
        "7.3~rc4-amd64",
    ] {
        assert!(text.parse::<Name>().is_err(), "{text}");
    }
}

#[test]
fn a_series_takes_only_its_own_flavour() {
    let offered = names(&["6.12.117+deb13-amd64", "6.12.117+deb13-rt-amd64", "6.1.0-56-amd64"]);
    let accepted = |text: &str| -> Vec<&str> {
        let request: Request = text.parse().unwrap();
        offered.iter().filter(|name| request.accepts(name)).map(Name::as_str).collect()
    };
    assert_eq!(accepted("6.12"), ["6.12.117+deb13-amd64"]);
    assert_eq!(accepted("6.12-rt"), ["6.12.117+deb13-rt-amd64"]);
    assert_eq!(accepted("6.1.0-56-amd64"), ["6.1.0-56-amd64"]);
    assert_eq!(accepted("newest"), ["6.12.117+deb13-amd64", "6.1.0-56-amd64"]);
}

#[test]
fn nonsense_is_refused_with_what_to_say_instead() {
    for text in ["", "six", "6", "6.x", "-rt", "../6.12"] {
        let error = text.parse::<Request>().unwrap_err().to_string();
        assert!(error.contains("--list"), "{text}: {error}");
    }
}

#[test]
fn pinned_releases_come_first_in_their_order() {
    let request: Request = "6.1".parse().unwrap();
    let pinned = names(&["6.1.0-50-amd64", "6.1.0-49-amd64"]);
    let offered = names(&["6.1.0-49-amd64", "6.1.0-50-amd64", "6.1.0-56-amd64"]);
    assert_eq!(
        candidates(&request, &pinned, &offered),
        names(&["6.1.0-50-amd64", "6.1.0-49-amd64", "6.1.0-56-amd64"])
    );
}

#[test]
fn a_dropped_pin_falls_back_to_the_newest_of_its_series() {
    let request: Request = "6.1".parse().unwrap();
    let pinned = names(&["6.1.0-10-amd64"]);
    let offered = names(&["6.1.0-55-amd64", "6.1.0-56-amd64", "6.12.117+deb13-amd64", "6.1.0-57-rt-amd64"]);
    assert_eq!(candidates(&request, &pinned, &offered), names(&["6.1.0-56-amd64", "6.1.0-55-amd64"]));
}
