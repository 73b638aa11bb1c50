use super::*;

#[test]
fn only_stock_kernels_are_taken_from_the_package_names() {
    let found = kernels(
        "linux-image-6.1.0-56-amd64\nlinux-image-amd64\nlinux-image-6.1.0-56-cloud-amd64\n\
         linux-image-6.1.0-56-amd64-dbg\nlinux-image-6.12.117+deb13-rt-amd64\n",
    );
    let texts: Vec<&str> = found.iter().map(Name::as_str).collect();
    assert_eq!(texts, ["6.1.0-56-amd64", "6.12.117+deb13-rt-amd64"]);
}

#[test]
fn a_whole_kernel_is_one_package() {
    let name: Name = "6.1.0-56-amd64".parse().unwrap();
    let description = "Package: linux-image-6.1.0-56-amd64\nDepends: kmod, linux-base (>= 4.3~), initramfs-tools | dracut\n";
    assert_eq!(packages(&name, description), ["linux-image-6.1.0-56-amd64"]);
}

#[test]
fn a_split_kernel_is_its_parts() {
    let name: Name = "7.3.4+deb13-amd64".parse().unwrap();
    let description = "Package: linux-image-7.3.4+deb13-amd64\nVersion: 7.3.4-1~bpo13+1\n\
        Depends: dracut | initramfs-tools (>= 0.120), linux-base-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), \
        linux-binary-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1), linux-modules-7.3.4+deb13-amd64 (= 7.3.4-1~bpo13+1)\n";
    assert_eq!(
        packages(&name, description),
        ["linux-base-7.3.4+deb13-amd64", "linux-binary-7.3.4+deb13-amd64", "linux-modules-7.3.4+deb13-amd64"]
    );
}

#[test]
fn security_suites_come_from_the_security_archive() {
    assert_eq!(
        sources("http://mirror/debian", &["sid", "trixie-security"]),
        format!(
            "deb [signed-by={KEYRING}] http://mirror/debian sid main\n\
             deb [signed-by={KEYRING}] http://mirror/debian-security trixie-security main\n"
        )
    );
}

#[test]
fn nothing_of_the_machines_own_apt_is_written() {
    let text = configuration(Path::new("/cache/apt"), false);
    for setting in ["Dir::State::lists", "Dir::Cache", "Dir::Etc::sourcelist", "Dir::Etc::sourceparts"] {
        assert!(text.contains(&format!("{setting} \"/cache/apt")), "{setting}: {text}");
    }
}
