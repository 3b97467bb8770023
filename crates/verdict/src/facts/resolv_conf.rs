//! What resolv.conf said: the name servers and the search list that the resolver used.

use capture_format::{BootTime, Event};

/// How many bytes are kept.
const MAX_CONTENT: usize = 16 << 10;

/// What a process read from resolv.conf.
#[derive(Clone, Debug)]
pub struct ResolvConf {
    /// Number of the event of the last read.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds of that event.
    pub time: BootTime,
    /// Its content, as far as it was recorded.
    pub content: Vec<u8>,
    reader: (u32, i64),
    complete: bool,
}

impl ResolvConf {
    /// Takes a read of the file. It continues `earlier`, unless `earlier` was read to its end or through another
    /// descriptor.
    pub(super) fn read(earlier: Option<Self>, number: u64, event: &Event) -> Option<Self> {
        let reader = (event.pid, event.args[0]);
        let goes_on = |conf: &Self| !conf.complete && conf.reader == reader;
        if event.ret <= 0 || event.data.is_empty() {
            return earlier.map(|conf| Self {
                complete: conf.complete || conf.reader == reader,
                ..conf
            });
        }
        let start = Self {
            event: number,
            time: event.time,
            content: Vec::new(),
            reader,
            complete: false,
        };
        let mut conf = earlier.filter(goes_on).unwrap_or(start);
        let room = MAX_CONTENT.saturating_sub(conf.content.len());
        conf.content
            .extend_from_slice(&event.data[..event.data.len().min(room)]);
        Some(Self {
            event: number,
            time: event.time,
            ..conf
        })
    }

    /// The file was opened anew: its content is what is read from now on.
    pub(super) fn opened_again(&mut self) {
        self.complete = true;
    }

    /// The search list, without final dots: the last `search` or `domain` line counts (resolv.conf(5)).
    #[must_use]
    pub fn search(&self) -> Vec<String> {
        let mut lists = self
            .lines()
            .into_iter()
            .filter(|(keyword, _)| matches!(keyword.as_str(), "search" | "domain"));
        let list = lists
            .next_back()
            .map(|(_, values)| values)
            .unwrap_or_default();
        list.iter()
            .map(|domain| domain.trim_end_matches('.').to_owned())
            .filter(|domain| !domain.is_empty())
            .collect()
    }

    /// The name servers.
    #[must_use]
    pub fn nameservers(&self) -> Vec<String> {
        self.lines()
            .into_iter()
            .filter(|(keyword, _)| keyword == "nameserver")
            .flat_map(|(_, values)| values)
            .collect()
    }

    fn lines(&self) -> Vec<(String, Vec<String>)> {
        let words = |line: &str| {
            let mut words = line.split_whitespace().map(str::to_owned);
            Some((words.next()?, words.collect()))
        };
        String::from_utf8_lossy(&self.content)
            .lines()
            .filter_map(words)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use crate::facts::Facts;
    use crate::testing::{INIT, Script};

    #[test]
    fn the_last_reading_counts_and_may_come_in_pieces() {
        let mut s = Script::new(&["app"]);
        s.open(INIT, "/etc/resolv.conf", 5)
            .read(INIT, 5, "", "nameserver 1.1.1.1\nsearch old\n")
            .read(INIT, 5, "", "");
        s.close(INIT, 5).open(INIT, "/etc/resolv.conf", 5);
        s.read(INIT, 5, "", "# by kubelet\nnameserver 10.96.0.10\nsear")
            .read(INIT, 5, "", "ch a.b. b\noptions ndots:5");
        let conf = Facts::of(&s.run, s.numbered()).resolv_conf.unwrap();
        assert_eq!(conf.nameservers(), ["10.96.0.10"]);
        assert_eq!(conf.search(), ["a.b", "b"]);
    }

    #[test]
    fn a_reader_that_did_not_read_to_the_end_read_all_the_same() {
        let mut s = Script::new(&["node"]);
        for _ in 0..2 {
            s.open(INIT, "/etc/resolv.conf", 19)
                .read(INIT, 19, "", "nameserver 127.0.0.53\n")
                .close(INIT, 19);
        }
        let conf = Facts::of(&s.run, s.numbered()).resolv_conf.unwrap();
        assert_eq!(conf.nameservers(), ["127.0.0.53"]);
    }
}
