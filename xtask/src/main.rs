//! The project's own commands. `cargo xtask help` lists them.

mod build;
#[path = "../../ipmp-user/ebpf_toolchain.rs"]
mod ebpf_toolchain;
mod privilege;
mod setup;
mod shell;
mod test;
mod vm;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Set up, build, test and show ipmp", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make this machine able to build and run: installs only what is missing, and says what
    Setup,
    /// Set up, then build the release binaries ipmpd and ipmp
    Build,
    /// Set up, then run all tests; network tests as root, by sudo where needed
    Test(test::Options),
    /// Run a command, or the network tests, under another kernel in a virtual machine
    Vm(vm::Options),
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Setup => setup::run(setup::For::Running),
        Command::Build => build::run().map(drop),
        Command::Test(options) => test::run(&options),
        Command::Vm(options) => vm::run(&options),
    }
}
