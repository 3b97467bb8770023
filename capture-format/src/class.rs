//! Classes of kinds: what events of a kind do, for code that treats many kinds alike.

/// What an event of a kind does. The table of [`EventKind`](crate::EventKind) gives each kind its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A process began, executed a program, ended, or was chosen by the OOM killer. Not a system call.
    ChangesProcess,
    /// A signal was sent, was delivered, or interrupted a thread. Not a system call.
    Signals,
    /// Should have started a process or executed a program, and failed.
    StartsProcess,
    /// Opens the file at `name`: `ret` is the descriptor.
    Opens,
    /// Makes, duplicates or closes descriptors of open files or of a pipe.
    ChangesDescriptor,
    /// Sets the working directory.
    ChangesDirectory,
    /// Reads from the descriptor `args[0]`: `data` has the bytes that were read.
    Reads,
    /// Writes to the descriptor `args[0]`: `data` has the bytes that were written.
    Writes,
    /// Makes a socket: `ret` is the descriptor.
    CreatesSocket,
    /// Connects the socket `args[0]`, binds it, listens or accepts at it, or asks for the outcome of its connect:
    /// `name` is an address.
    Connects,
    /// Sends through the socket `args[0]`: `name` is the peer, `data` a payload.
    Sends,
    /// Receives from the socket `args[0]`: `name` is the peer, `data` a payload.
    Receives,
    /// Asked whether a path exists or what it is, and failed: `name` is the path.
    LooksUp,
    /// Any other call on the path `name` that failed.
    ActsOnPath,
    /// A call on the open file `args[0]` that failed.
    ActsOnFile,
    /// Events are missing before this one. Not a system call.
    Gap,
    /// None of these; the table of kinds says what the call does.
    Other,
    /// A kind that this version does not know: it may do anything.
    Unknown,
}

impl Class {
    /// Whether `data` has bytes that the process read or received.
    #[must_use]
    pub const fn takes_in(self) -> bool {
        matches!(self, Self::Reads | Self::Receives)
    }

    /// Whether `data` has bytes that the process wrote or sent.
    #[must_use]
    pub const fn gives_out(self) -> bool {
        matches!(self, Self::Writes | Self::Sends)
    }

    /// Whether `data` has bytes that were moved, in either direction.
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
