//! Names of Debian's kernels, and what a user may ask for.

use std::{cmp::Ordering, fmt, str::FromStr};

use anyhow::{Error, Result, bail, ensure};

/// The architecture whose kernels are booted.
const ARCHITECTURE: &str = "-amd64";

/// How a kernel pre-empts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flavour {
    /// Debian's usual configuration.
    Plain,
    /// `PREEMPT_RT`.
    RealTime,
}

impl Flavour {
    /// Takes the flavour off the end of a name.
    fn split(text: &str) -> (&str, Self) {
        text.strip_suffix("-rt").map_or((text, Self::Plain), |rest| (rest, Self::RealTime))
    }
}

/// Major and minor version, such as 6.12.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Series(u32, u32);

impl FromStr for Series {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let numbers = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let Some((major, minor)) = numbers else {
            bail!("`{text}` is no kernel series such as 6.12");
        };
        Ok(Self(major, minor))
    }
}

/// A kernel release as Debian names it and `uname -r` prints it, such as `6.12.117+deb13-rt-amd64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Name {
    text: String,
    series: Series,
    flavour: Flavour,
    /// Every number of the version, in order: what sorts.
    numbers: Vec<u32>,
}

impl Name {
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some(rest) = text.strip_suffix(ARCHITECTURE) else {
            bail!("`{text}` does not end in `{ARCHITECTURE}`");
        };
        let (version, flavour) = Flavour::split(rest);
        let others = ["cloud", "unsigned", "dbg", "rpi", "~"];
        ensure!(!others.iter().any(|mark| version.contains(mark)), "`{text}` is not a stock kernel");
        let numbers: Vec<u32> =
            version.split(|c: char| !c.is_ascii_digit()).filter_map(|run| run.parse().ok()).collect();
        // Two numbers are a meta-package (linux-image-6.12-amd64), which holds no kernel.
        let &[major, minor, _, ..] = numbers.as_slice() else {
            bail!("`{text}` names no kernel release such as 6.12.117+deb13-amd64");
        };
        Ok(Self { text: text.to_owned(), series: Series(major, minor), flavour, numbers })
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What a user asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// One release, whatever the list says.
    Exact(Name),
    /// The best release of a series: `6.12`, `6.12-rt`.
    Series(Series, Flavour),
    /// The best release there is: `newest`, `newest-rt`.
    Newest(Flavour),
}

impl Request {
    /// Whether a release is what was asked for.
    pub(super) fn accepts(&self, name: &Name) -> bool {
        match self {
            Self::Exact(wanted) => name == wanted,
            Self::Series(series, flavour) => name.series == *series && name.flavour == *flavour,
            Self::Newest(flavour) => name.flavour == *flavour,
        }
    }
}

impl FromStr for Request {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(name) = text.parse() {
            return Ok(Self::Exact(name));
        }
        let (version, flavour) = Flavour::split(text);
        if version == "newest" {
            return Ok(Self::Newest(flavour));
        }
        let Ok(series) = version.parse() else {
            bail!(
                "`{text}` is no kernel: say a series (6.12, 6.12-rt), newest, newest-rt, or a Debian kernel's whole name \
                 (6.12.117+deb13-amd64); `cargo xtask vm --list` shows the pinned ones"
            );
        };
        Ok(Self::Series(series, flavour))
    }
}

/// The releases to try for a request, best first: the pinned ones the archive still has, then the newest of its others.
pub(super) fn candidates(request: &Request, pinned: &[Name], offered: &[Name]) -> Vec<Name> {
    let mut others: Vec<&Name> =
        offered.iter().filter(|name| request.accepts(name) && !pinned.contains(name)).collect();
    others.sort_by(|a, b| b.cmp(a));
    let kept = pinned.iter().filter(|name| offered.contains(name));
    kept.chain(others).cloned().collect()
}

#[cfg(test)]
mod tests;
