//! The guest's first file system: busybox, and the modules without which the real root cannot be mounted.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};

const INIT: &str = include_str!("guest/init.sh");
/// What mounts the root (9p beneath an overlay) and carries the output.
const MODULES: [&str; 5] = ["virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_console"];
/// File types of cpio's `mode`.
const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;

/// Makes the archive for a kernel.
///
/// `modules` is the kernel's own module directory, which holds `modules.dep`.
///
/// # Errors
/// When busybox or one of the modules cannot be read.
pub(super) fn build(modules: &Path, busybox: &Path) -> Result<Vec<u8>> {
    let dependencies = modules.join("modules.dep");
    let text = fs::read_to_string(&dependencies).with_context(|| dependencies.display().to_string())?;
    let mut archive = Archive::default();
    for directory in ["bin", "dev", "proc", "sys", "modules", "lower", "upper", "root"] {
        archive.entry(directory, DIRECTORY, &[]);
    }
    let mut order = String::new();
    for path in load_order(&text, &MODULES) {
        let file = modules.join(&path);
        let data = fs::read(&file).with_context(|| file.display().to_string())?;
        let name = format!("{:02}-{}", order.lines().count(), file_name(&path));
        archive.entry(&format!("modules/{name}"), EXECUTABLE, &data);
        order.push_str(&name);
        order.push('\n');
    }
    archive.entry("modules/order", EXECUTABLE, order.as_bytes());
    let program = fs::read(busybox).with_context(|| busybox.display().to_string())?;
    archive.entry("bin/busybox", EXECUTABLE, &program);
    archive.entry("init", EXECUTABLE, INIT.as_bytes());
    Ok(archive.finish())
}

/// Module files in the order in which they load, from `modules.dep` (modules.dep(5)): each line lists a module and all
/// it needs, the deepest last. A module that the file lacks is built into the kernel.
fn load_order(dependencies: &str, wanted: &[&str]) -> Vec<String> {
    let lines: BTreeMap<String, (&str, &str)> = dependencies
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(path, needs)| (module_name(path), (path, needs)))
        .collect();
    let mut order: Vec<String> = Vec::new();
    for (path, needs) in wanted.iter().filter_map(|name| lines.get(*name)) {
        for file in needs.split_whitespace().rev().chain([*path]) {
            if !order.iter().any(|known| known == file) {
                order.push(file.to_owned());
            }
        }
    }
    order
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// `kernel/net/9p/9pnet_virtio.ko` → `9pnet_virtio`; the kernel does not tell `-` from `_`.
fn module_name(path: &str) -> String {
    let file = file_name(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// A cpio archive in the "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).
#[derive(Default)]
struct Archive {
    data: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn entry(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let fields =
            [self.entries, mode, 0, 0, 1, 0, content.len() as u32, 0, 0, 0, 0, name.len() as u32 + 1, 0];
        self.data.extend_from_slice(b"070701");
        for field in fields {
            self.data.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.data.extend_from_slice(name.as_bytes());
        self.data.push(0);
        self.pad();
        self.data.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.data.resize(self.data.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.data
    }
}

#[cfg(test)]
mod tests;
