//! The signs that connect a trouble with the end of its run, and how much each counts.

use events::decode::time::duration;

/// What connects a trouble with the end of its run, or speaks against that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// The last words complain of what it was about.
    InWords,
    /// The last words name what it was about, and complain of something else or of nothing.
    Mentioned,
    /// A line before the last words complains of what it was about.
    InEarlierWords,
    /// The same line gives the error.
    ErrorInEarlierWords,
    /// The last words have every word of its name.
    WordForWord,
    /// The last words give the error.
    ErrorInWords,
    /// An argument of the process names what it was about.
    InArguments,
    /// A configuration file that was read before names what it was about; its path, escaped.
    InText(String),
    /// It was what went wrong last before the end, and nothing was said.
    LastOfSilence,
    /// It was what went wrong last before the last words, which do not say what failed.
    LastBeforeWords,
    /// It was what went wrong last before the last words, which say that something else failed, or may.
    LastBeforeComplaint,
    /// An error after which hardly any program carries on.
    Serious,
    /// An error that is a failure, and not an answer; few calls met it.
    Rare,
    /// It was tried again and again.
    Repeated,
    /// A connection or look-up that never succeeded.
    NeverSucceeded,
    /// A child ended, and nothing was started after it.
    ChildLast,
    /// A child complained before it ended.
    ChildComplained,
    /// A signal killed a child.
    ChildKilled,
    /// It was read last.
    ReadLast,
    /// There was nothing in the file.
    Empty,
    /// All runs that ended alike met it: how many.
    InAllRuns(usize),
    /// A run that lived longer did not meet it: its number and its life in nanoseconds.
    NotInLongerRun(u32, u64),
    /// It happened long before the last words, or before the end.
    LongBefore,
    /// The call only asked whether something exists.
    OnlyAsked,
    /// It was about a part of an installed package.
    Installed,
    /// A run that ended alike did not meet it.
    NotInAllRuns,
}

impl Sign {
    /// How much the sign counts.
    pub(super) fn weight(&self) -> i32 {
        match self {
            Self::InWords => 5,
            Self::InEarlierWords => 1,
            Self::Mentioned | Self::ErrorInEarlierWords | Self::WordForWord => 2,
            Self::ErrorInWords => 3,
            Self::InArguments | Self::InText(_) => 3,
            Self::LastOfSilence => 4,
            Self::LastBeforeWords => 3,
            Self::LastBeforeComplaint => 1,
            Self::Serious => 3,
            Self::Rare | Self::Repeated => 2,
            Self::NeverSucceeded => 1,
            Self::ChildLast => 3,
            Self::ChildComplained | Self::ChildKilled => 2,
            Self::ReadLast => 1,
            Self::Empty => 3,
            // That others met it, too, is no reason to prefer it; that one did not is a reason to drop it.
            Self::InAllRuns(_) => 0,
            Self::NotInLongerRun(..) => 2,
            Self::LongBefore => -3,
            Self::OnlyAsked => -1,
            Self::Installed => -3,
            Self::NotInAllRuns => -3,
        }
    }

    /// The sign in words; `None` if it speaks against the trouble.
    pub(super) fn clause(&self) -> Option<String> {
        Some(match self {
            Self::InWords => "the last words complain of it".into(),
            Self::InEarlierWords => "an earlier line complains of it".into(),
            Self::Mentioned => "the last words name it".into(),
            Self::ErrorInEarlierWords => return None,
            Self::WordForWord => "the last words have every word of its name".into(),
            Self::ErrorInWords => "the last words give this error".into(),
            Self::InArguments => "it is on the command line".into(),
            Self::InText(path) => format!("{path} names it"),
            Self::LastOfSilence => "nothing else went wrong between it and the end".into(),
            Self::LastBeforeWords | Self::LastBeforeComplaint => {
                "nothing else went wrong between it and the last words".into()
            }
            Self::Serious => "hardly any program carries on after this error".into(),
            Self::Rare => "few calls of the run failed with this error".into(),
            Self::Repeated => "it was tried again and again".into(),
            Self::NeverSucceeded => "it never succeeded".into(),
            Self::ChildLast => "nothing was started after it".into(),
            Self::ChildComplained | Self::ChildKilled => return None,
            Self::ReadLast => "no other configuration was read after it".into(),
            Self::Empty => "there was nothing in it".into(),
            Self::InAllRuns(2) => "both runs met it".into(),
            Self::InAllRuns(runs) => format!("all {runs} runs met it"),
            Self::NotInLongerRun(run, lived) => {
                format!(
                    "run {run}, which lived {}, did not meet it",
                    duration(*lived)
                )
            }
            Self::LongBefore | Self::OnlyAsked | Self::Installed | Self::NotInAllRuns => {
                return None;
            }
        })
    }
}
