//! Which columns of a block a reader needs.

use super::{COLUMNS, Column};

/// A set of columns, to be decoded by [`EventBlock::load`](crate::EventBlock::load).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Columns(u16);

impl Columns {
    /// No column.
    pub const NONE: Self = Self(0);
    /// [`Event::time`](crate::Event::time).
    pub const TIME: Self = Self::of(Column::Time);
    /// [`Event::kind`](crate::Event::kind).
    pub const KIND: Self = Self::of(Column::Kind);
    /// [`Event::pid`](crate::Event::pid).
    pub const PID: Self = Self::of(Column::Pid);
    /// [`Event::tid`](crate::Event::tid), and with it [`Columns::PID`], to which it is relative.
    pub const TID: Self = Self(Self::of(Column::Tid).0 | Self::PID.0);
    /// [`Event::flags`](crate::Event::flags).
    pub const FLAGS: Self = Self::of(Column::Flags);
    /// [`Event::fd_type`](crate::Event::fd_type).
    pub const FD_TYPE: Self = Self::of(Column::FdType);
    /// [`Event::ret`](crate::Event::ret).
    pub const RET: Self = Self::of(Column::Ret);
    /// [`Event::args`](crate::Event::args), all three.
    pub const ARGS: Self =
        Self(Self::of(Column::Arg0).0 | Self::of(Column::Arg1).0 | Self::of(Column::Arg2).0);
    /// [`Event::name`](crate::Event::name).
    pub const NAME: Self = Self(Self::of(Column::Name).0 | Self::of(Column::Strings).0);
    /// [`Event::data`](crate::Event::data).
    pub const DATA: Self = Self(Self::of(Column::DataLength).0 | Self::of(Column::Data).0);
    /// All columns of an event.
    pub const ALL: Self = Self((1 << COLUMNS) - 1);

    pub(super) const fn of(column: Column) -> Self {
        Self(1 << (column as u16 - 1))
    }

    /// Whether all of `other` are in this set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The columns of this set that are not in `other`.
    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl std::ops::BitOr for Columns {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
