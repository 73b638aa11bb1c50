//! By what the kernel tells the flows apart that it spreads over several hops.

use std::io;

use super::{Sysctl, read, write};
use crate::net::NetError;

/// Of the whole network namespace. 0: by addresses, so that all flows between two hosts are one; 1: by addresses, ports and
/// protocol. Documentation/networking/ip-sysctl.rst.
const SETTINGS: [&str; 2] = ["ipv4/fib_multipath_hash_policy", "ipv6/fib_multipath_hash_policy"];
const BY_ADDRESSES: &str = "0";
const BY_PORTS: &str = "1";

impl Sysctl {
    /// Sets them while flows are to be spread, and puts back what was there before when no longer. Any other value than the
    /// kernel's default was chosen by somebody and stays. Returns what was changed, as text for people.
    pub fn set_hash_policy(&mut self, spreading: bool) -> Result<Vec<String>, NetError> {
        let mut changed = Vec::new();
        for setting in SETTINGS {
            let now = match read(self.namespace_path(setting)) {
                Ok(now) => now,
                // Without IPv6, or multipath routes, there is none.
                Err(NetError::Setting { source, .. }) if source.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let before = self.previous.namespace.get(setting).cloned();
            let wanted = match (spreading, before) {
                (true, _) if now == BY_ADDRESSES => {
                    self.previous.namespace.insert(setting.to_owned(), now.clone());
                    self.remember();
                    BY_PORTS.to_owned()
                }
                (false, Some(before)) if now == BY_PORTS => before,
                (true, _) => continue,
                (false, _) => now.clone(),
            };
            if wanted != now {
                write(self.namespace_path(setting), &wanted)?;
                changed.push(format!("{} {now} → {wanted}", setting.replace('/', ".")));
            }
            if !spreading && self.previous.namespace.remove(setting).is_some() {
                self.save()?;
            }
        }
        Ok(changed)
    }

    fn namespace_path(&self, setting: &str) -> std::path::PathBuf {
        // The settings of interfaces are in ipv4/conf.
        self.root.ancestors().nth(2).unwrap_or(&self.root).join(setting)
    }
}
