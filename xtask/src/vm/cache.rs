//! Kernels ready to boot, kept outside the tree so that every clone and worktree finds them.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    archive::Archive,
    name::{Name, Request, candidates},
    needs, pins, unpack,
};
use crate::shell::say;

/// How many releases are tried before giving up: an archive's lists can name what its mirror lacks.
const ATTEMPTS: usize = 4;

/// The cache's directory.
pub(super) struct Cache(PathBuf);

/// A kernel ready to boot.
pub(super) struct Kernel {
    pub(super) name: Name,
    pub(super) directory: PathBuf,
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    pub(super) fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules").join(self.name.as_str())
    }
}

impl Cache {
    /// `$XDG_CACHE_HOME/ipmp/kernels`, or `~/.cache/ipmp/kernels`.
    pub(super) fn open() -> Result<Self> {
        let base = env::var_os("XDG_CACHE_HOME")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
            .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set: there is no place for kernels")?;
        let directory = base.join("ipmp/kernels");
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self(directory.canonicalize().with_context(|| directory.display().to_string())?))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A kernel for a request, fetched if need be: pinned releases first, then what the archive has instead, then what
    /// the cache has.
    pub(super) fn provide(&self, request: &Request) -> Result<Kernel> {
        let pinned = match request {
            Request::Exact(name) => vec![name.clone()],
            Request::Series(..) | Request::Newest(_) => pins::of(request)?,
        };
        if let Some(kernel) = pinned.iter().find_map(|name| self.cached(name)) {
            return Ok(kernel);
        }
        let error = match self.fetch(request, &pinned) {
            Ok(kernel) => return Ok(kernel),
            Err(error) => error,
        };
        let mut others: Vec<Name> = self.names()?.into_iter().filter(|name| request.accepts(name)).collect();
        others.sort();
        match others.last().and_then(|name| self.cached(name)) {
            Some(kernel) => {
                say(&format!("{error:#}: taking {} from the cache", kernel.name));
                Ok(kernel)
            }
            None => Err(error),
        }
    }

    /// A release, if it is here.
    pub(super) fn cached(&self, name: &Name) -> Option<Kernel> {
        let directory = self.0.join(name.as_str());
        directory.is_dir().then(|| Kernel { name: name.clone(), directory })
    }

    /// The releases that are here.
    pub(super) fn names(&self) -> Result<Vec<Name>> {
        let entries = fs::read_dir(&self.0).with_context(|| self.0.display().to_string())?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
    }

    fn fetch(&self, request: &Request, pinned: &[Name]) -> Result<Kernel> {
        needs::for_fetching()?;
        let archive = Archive::of_kernels(&self.0)?;
        archive.refresh(false)?;
        let names = candidates(request, pinned, &archive.kernels()?);
        let mut last = None;
        for name in names.iter().take(ATTEMPTS) {
            match self.add(&archive, name) {
                Ok(kernel) => {
                    if !pinned.is_empty() && !pinned.contains(name) {
                        say(&format!(
                            "Debian's archive has none of the pinned {}: took {name}; bring xtask/src/vm/kernels.list up to date",
                            pinned.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
                        ));
                    }
                    return Ok(kernel);
                }
                Err(error) => {
                    say(&format!("{name} cannot be had: {error:#}"));
                    // The lists may be older than the archive.
                    if last.is_none() {
                        archive.refresh(true)?;
                    }
                    last = Some(error);
                }
            }
        }
        match last {
            Some(error) => Err(error.context("none of the archive's kernels could be fetched")),
            None => bail!("Debian's archive has no such kernel"),
        }
    }

    /// Downloads and unpacks beside the cache's entries, then moves into place: an entry is whole or absent.
    fn add(&self, archive: &Archive, name: &Name) -> Result<Kernel> {
        let work = tempfile::Builder::new()
            .prefix("fetch.")
            .tempdir_in(&self.0)
            .context("a directory to download to")?;
        let (debs, ready) = (work.path().join("debs"), work.path().join("ready"));
        fs::create_dir(&debs).context("a directory for the packages")?;
        fs::create_dir(&ready).context("a directory for the kernel")?;
        archive.download(name, &debs)?;
        say(&format!("unpacking {name}"));
        unpack::packages(name, &debs, &ready)?;
        match fs::rename(&ready, self.0.join(name.as_str())) {
            Ok(()) => {}
            // Another run was faster.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(error).context("moving the kernel into the cache"),
        }
        self.cached(name).context("the kernel vanished from the cache")
    }
}
