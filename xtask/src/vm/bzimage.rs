//! The ELF image inside a bzImage.
//!
//! QEMU starts an ELF kernel through its PVH entry (Debian's kernels have it since 4.12), which saves decompressing it
//! under emulation: seconds of every boot.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};

/// How a payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    Xz,
    Zstd,
    Gzip,
}

impl Compression {
    /// The program that takes it from standard input to standard output with `-dc`.
    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

/// Finds the compressed kernel by the set-up header (boot protocol 2.08 and later,
/// Documentation/arch/x86/boot.rst: `setup_sects` at 0x1f1, `payload_offset` at 0x248, `payload_length` at 0x24c).
///
/// # Errors
/// When the image has no such header or a compression that is not known here.
pub(super) fn payload(image: &[u8]) -> Result<(Range<usize>, Compression)> {
    if image.get(0x202..0x206) != Some(b"HdrS") {
        bail!("not a Linux boot image");
    }
    let word = |at: usize| -> Result<usize> {
        let bytes: [u8; 4] = image.get(at..at + 4).context("cut off")?.try_into().context("four bytes")?;
        Ok(usize::try_from(u32::from_le_bytes(bytes))?)
    };
    // Zero means four (the same document), for images older than the payload fields.
    let sectors = usize::from(*image.get(0x1f1).context("cut off")?);
    let start = (sectors + 1) * 512 + word(0x248)?;
    // The kernel's build appends the uncompressed size, four bytes, which no decompressor expects.
    let end = start + word(0x24c)?.checked_sub(4).context("an empty payload")?;
    let data = image.get(start..end).context("the payload lies outside the image")?;
    let compression = match data {
        [0xfd, b'7', b'z', b'X', ..] => Compression::Xz,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        [0x1f, 0x8b, ..] => Compression::Gzip,
        _ => bail!("a compression that is not known here"),
    };
    Ok((start..end, compression))
}

#[cfg(test)]
mod tests;
