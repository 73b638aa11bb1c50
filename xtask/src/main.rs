//! The project's own commands. `cargo xtask help` lists them.

mod bench;
mod build;
mod demo;
#[path = "../../ipmp-user/ebpf_toolchain.rs"]
mod ebpf_toolchain;
mod lab;
mod privilege;
mod setup;
mod shell;
mod sim;
mod stage;
mod test;
mod timeline;
mod vm;

use std::process::ExitCode;

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
    /// Show the main job: a cable pulled, a path cut, traffic that goes on; a timeline, then everything is removed
    Demo(demo::Options),
    /// Leave the demo's lab standing and print commands to try
    Lab(lab::Options),
    /// Run a command, or the network tests, under another kernel in a virtual machine
    Vm(vm::Options),
    /// Simulate lossy paths: what suspicion gains and costs
    Sim(sim::Options),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    match run(&Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        // Not by returning it: a backtrace helps nobody whose package is missing.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<()> {
    match command {
        Command::Setup => setup::run(setup::For::Running),
        Command::Build => build::run().map(drop),
        Command::Test(options) => test::run(options),
        Command::Demo(options) => demo::run(options),
        Command::Lab(options) => lab::run(options),
        Command::Vm(options) => vm::run(options),
        Command::Sim(options) => sim::run(options),
        Command::Bench(bench) => bench::run(bench),
    }
}
