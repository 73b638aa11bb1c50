//! `ipmpd`, the IP multipathing daemon.

fn main() -> std::process::ExitCode {
    ipmp_user::cli::ipmpd::main()
}
