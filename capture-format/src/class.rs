//! Classes of kinds: what events of a kind do, for code that treats many kinds alike.

/// What an event of a kind does. The table of [`EventKind`](crate::EventKind) gives each kind its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A process began, executed a program, ended, or was chosen by the OOM killer. No system call.
    ChangesProcess,
    /// A signal was sent or taken. No system call.
    Signals,
    /// A process was to begin or to execute a program, which failed.
    StartsProcess,
    /// Opens the file at `name`: `ret` is the descriptor.
    Opens,
    /// Makes, duplicates or closes descriptors of what is open, or of a pipe.
    ChangesDescriptor,
    /// Sets the working directory.
    ChangesDirectory,
    /// Reads from the descriptor `args[0]`: `data` is what was read.
    Reads,
    /// Writes to the descriptor `args[0]`: `data` is what was written.
    Writes,
    /// Makes a socket: `ret` is the descriptor.
    CreatesSocket,
    /// Connects the socket `args[0]`, binds it, listens or accepts at it, or asks how its connect ended: `name` is an address.
    Connects,
    /// Sends through the socket `args[0]`: `name` is the peer, `data` a payload.
    Sends,
    /// Receives from the socket `args[0]`: `name` is the peer, `data` a payload.
    Receives,
    /// Asked whether something is there and what it is, which failed: `name` is its path.
    LooksUp,
    /// Any other call on the path `name`, which failed.
    ActsOnPath,
    /// A call on the open file `args[0]`, which failed.
    ActsOnFile,
    /// None of these; the table says what it is.
    Other,
    /// A kind that this version does not know: it may do anything.
    Unknown,
}

impl Class {
    /// Whether `data` is what the process got: it read or received it.
    #[must_use]
    pub const fn takes_in(self) -> bool {
        matches!(self, Self::Reads | Self::Receives)
    }

    /// Whether `data` is what the process gave away: it wrote or sent it.
    #[must_use]
    pub const fn gives_out(self) -> bool {
        matches!(self, Self::Writes | Self::Sends)
    }

    /// Whether `data` is what was moved, in either direction.
    #[must_use]
    pub const fn moves_bytes(self) -> bool {
        self.takes_in() || self.gives_out()
    }

    /// Whether `args[0]` is a socket, and `name` an address.
    #[must_use]
    pub const fn is_on_socket(self) -> bool {
        matches!(self, Self::Connects | Self::Sends | Self::Receives)
    }
}
