//! `ipmp`, the IP multipathing client.

fn main() -> std::process::ExitCode {
    ipmp_user::cli::main()
}
