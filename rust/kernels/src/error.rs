//! What can go wrong inside a kernel. Nothing else leaves this crate: no panic, no abort.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// Sizes that do not fit together, or products that leave the address space.
    Shape(String),
    /// Work space could not be allocated.
    OutOfMemory,
    /// The caller's poll asked to stop; outputs are partly written.
    Interrupted,
    /// A task panicked, which is a bug; the message is the panic's.
    Panic(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Shape(message) => f.write_str(message),
            Error::OutOfMemory => f.write_str("out of memory: work space could not be allocated"),
            Error::Interrupted => f.write_str("interrupted"),
            Error::Panic(message) => write!(f, "internal error: {message}"),
        }
    }
}

impl std::error::Error for Error {}

/// `Err(Error::Shape(message()))` unless `holds`; the message is only built when needed.
pub fn require(holds: bool, message: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(Error::Shape(message())) }
}
