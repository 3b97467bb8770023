//! Look-ups: the questions that a resolver asks one after another to resolve one name.

use std::net::IpAddr;

use super::dns::{Dns, Exchange};
use super::resolv_conf::ResolvConf;
use events::decode::Rcode;

/// How many look-ups of a process are searched for the one that a question belongs to.
const MAX_OPEN_LOOKUPS: usize = 8;

/// How a look-up ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An answer had a record of a type that was asked for.
    Resolved,
    /// Every name that was tried gave NXDOMAIN.
    NoSuchName,
    /// The name exists, but has no record of the types that were asked for.
    NoRecords,
    /// SERVFAIL, REFUSED or another error of the server.
    ServerFailed(Rcode),
    /// No answer was recorded.
    NoAnswer,
}

/// All questions that a resolver asked for one name: the expansions by its search list, each for A and AAAA.
#[derive(Clone, Debug)]
pub struct Lookup {
    /// The process that asked.
    pub pid: u32,
    /// The name as the program gave it, as far as the questions show it.
    pub host: String,
    /// The questions in their order.
    pub exchanges: Vec<Exchange>,
}

impl Lookup {
    /// How the look-up ended, judged by all its questions.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        let names = self.names();
        let outcomes: Vec<Outcome> = names.iter().map(|name| self.outcome_of(name)).collect();
        let find = |wanted: fn(&Outcome) -> bool| outcomes.iter().copied().find(wanted);
        find(|o| *o == Outcome::Resolved)
            .or_else(|| find(|o| matches!(o, Outcome::ServerFailed(_))))
            .or_else(|| find(|o| *o == Outcome::NoAnswer))
            .or_else(|| find(|o| *o == Outcome::NoRecords))
            .unwrap_or(Outcome::NoSuchName)
    }

    /// How the questions for one name (A and AAAA) ended: the most informative answer counts.
    fn outcome_of(&self, name: &str) -> Outcome {
        let weight = |outcome: &Outcome| match outcome {
            Outcome::Resolved => 4,
            Outcome::NoSuchName => 3,
            Outcome::ServerFailed(_) => 2,
            Outcome::NoAnswer => 1,
            Outcome::NoRecords => 0,
        };
        let of_name = self
            .exchanges
            .iter()
            .filter(|exchange| exchange.name.eq_ignore_ascii_case(name));
        of_name
            .map(outcome)
            .max_by_key(weight)
            .unwrap_or(Outcome::NoAnswer)
    }

    /// The names that were tried, each once, in their order.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for exchange in &self.exchanges {
            if !names
                .iter()
                .any(|name| name.eq_ignore_ascii_case(&exchange.name))
            {
                names.push(&exchange.name);
            }
        }
        names
    }

    /// The servers that were asked, each once.
    #[must_use]
    pub fn servers(&self) -> Vec<IpAddr> {
        let mut servers: Vec<IpAddr> = self.exchanges.iter().filter_map(Exchange::server).collect();
        servers.sort();
        servers.dedup();
        servers
    }

    /// Whether DNS answered with this address for the name.
    #[must_use]
    pub fn gave(&self, address: IpAddr) -> bool {
        let answers = self.exchanges.iter().filter_map(|it| it.answer.as_ref());
        let wanted = address.to_string();
        answers
            .flat_map(|answer| &answer.records)
            .filter_map(|record| record.split_once(' '))
            .any(|(_, data)| data == wanted)
    }

    /// Number of the look-up's last event: a question or an answer.
    #[must_use]
    pub fn last_event(&self) -> u64 {
        let events = self.exchanges.iter().flat_map(|exchange| {
            let asked = exchange.attempts.iter().map(|attempt| attempt.event);
            asked.chain(exchange.answer.as_ref().map(|answer| answer.event))
        });
        events.max().unwrap_or_default()
    }

    fn takes(&self, exchange: &Exchange, search: &[String]) -> Option<String> {
        let again = |other: &Exchange| {
            other.name.eq_ignore_ascii_case(&exchange.name) && other.qtype == exchange.qtype
        };
        if self.pid != exchange.pid || self.exchanges.iter().any(again) {
            return None;
        }
        let (first, next) = (&self.exchanges.first()?.name, &exchange.name);
        let last = &self.exchanges.last()?.name;
        if next.eq_ignore_ascii_case(last) {
            return Some(self.host.clone());
        }
        let is_search = |suffix: &str| {
            suffix.is_empty()
                || search
                    .iter()
                    .any(|domain| domain.eq_ignore_ascii_case(suffix))
        };
        if self.names().len() == 1 && suffix_after(next, first).is_some_and(is_search) {
            return Some(first.clone());
        }
        if search.is_empty() {
            return shrinks(last, next)
                .filter(|host| *host == self.host || self.names().len() == 1);
        }
        suffix_after(next, &self.host)
            .is_some_and(is_search)
            .then(|| self.host.clone())
    }
}

/// What follows `host` and a dot in `name`; empty if both are the same.
fn suffix_after<'a>(name: &'a str, host: &str) -> Option<&'a str> {
    if name.eq_ignore_ascii_case(host) {
        return Some("");
    }
    let head = name.get(..host.len())?;
    (head.eq_ignore_ascii_case(host)).then(|| name[host.len()..].strip_prefix('.'))?
}

/// Recognises a look-up's next question if the search list is not known: `flask.svc.cluster.local` after
/// `flask.default.svc.cluster.local` belongs to the same look-up of `flask`, because what follows `flask` only lost
/// labels at its front.
fn shrinks(last: &str, next: &str) -> Option<String> {
    let common = last
        .split('.')
        .zip(next.split('.'))
        .take_while(|(a, b)| a.eq_ignore_ascii_case(b))
        .count();
    let last: Vec<&str> = last.split('.').collect();
    let next: Vec<&str> = next.split('.').collect();
    let (rest, next_rest) = (&last[common..], &next[common..]);
    (common > 0 && rest.len() > next_rest.len() && rest.ends_with(next_rest))
        .then(|| next[..common].join("."))
}

/// Groups the questions into look-ups, in the order of their first questions.
pub(super) fn lookups(dns: &Dns, resolv_conf: Option<&ResolvConf>) -> Vec<Lookup> {
    let search = resolv_conf.map(ResolvConf::search).unwrap_or_default();
    let mut lookups: Vec<Lookup> = Vec::new();
    for exchange in dns.exchanges() {
        let candidates = lookups
            .iter_mut()
            .rev()
            .filter(|lookup| lookup.pid == exchange.pid)
            .take(MAX_OPEN_LOOKUPS);
        let taken = candidates
            .filter_map(|lookup| lookup.takes(exchange, &search).map(|host| (lookup, host)))
            .next();
        match taken {
            Some((lookup, host)) => {
                lookup.host = host;
                lookup.exchanges.push(exchange.clone());
            }
            None => {
                let stripped = search.iter().find_map(|domain| {
                    let host = exchange.name.len().checked_sub(domain.len() + 1)?;
                    let host = exchange.name.get(..host).filter(|host| !host.is_empty())?;
                    suffix_after(&exchange.name, host)
                        .is_some_and(|s| s.eq_ignore_ascii_case(domain))
                        .then_some(host)
                });
                let host = stripped.unwrap_or(&exchange.name).to_owned();
                lookups.push(Lookup {
                    pid: exchange.pid,
                    host,
                    exchanges: vec![exchange.clone()],
                });
            }
        }
    }
    for lookup in &mut lookups {
        if let [name] = lookup.names()[..] {
            lookup.host = name.to_owned();
        }
    }
    lookups
}

/// How one question ended.
#[must_use]
pub fn outcome(exchange: &Exchange) -> Outcome {
    match &exchange.answer {
        None => Outcome::NoAnswer,
        Some(answer) => outcome_of_answer(answer.rcode, answer.answered),
    }
}

/// What an answer says. `answered` says whether it has a record of the type that was asked for.
#[must_use]
pub fn outcome_of_answer(rcode: Rcode, answered: bool) -> Outcome {
    match rcode {
        _ if answered => Outcome::Resolved,
        Rcode::NXDOMAIN => Outcome::NoSuchName,
        Rcode::NOERROR => Outcome::NoRecords,
        rcode => Outcome::ServerFailed(rcode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::testing::{INIT, Script, dns};

    const SERVER: [u8; 4] = [10, 96, 0, 10];
    const CONF: &str = "nameserver 10.96.0.10\nsearch default.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n";

    fn script(conf: &str) -> Script {
        let mut s = Script::new(&["nginx"]);
        s.open(INIT, "/etc/resolv.conf", 5)
            .read(INIT, 5, "resolv.conf", conf)
            .close(INIT, 5);
        s.resolver_socket(INIT, 5, SERVER);
        s
    }

    fn lookups(s: &Script) -> Vec<(String, Outcome, usize)> {
        let lookups = Facts::of(&s.run, s.numbered()).lookups();
        lookups
            .iter()
            .map(|lookup| (lookup.host.clone(), lookup.outcome(), lookup.names().len()))
            .collect()
    }

    fn search(s: &mut Script, names: &[&str], rcode: u8) {
        for (id, name) in (1000..).step_by(10).zip(names) {
            s.ask(INIT, 5, id, name)
                .replies(INIT, 5, SERVER, id, name, rcode);
        }
    }

    const FLASK: [&str; 4] = [
        "flask.default.svc.cluster.local",
        "flask.svc.cluster.local",
        "flask.cluster.local",
        "flask",
    ];

    #[test]
    fn a_searched_name_is_one_lookup() {
        let mut s = script(CONF);
        search(&mut s, &FLASK, 3);
        assert_eq!(lookups(&s), [("flask".into(), Outcome::NoSuchName, 4)]);
    }

    #[test]
    fn without_resolv_conf_the_shrinking_rest_tells() {
        let mut s = script("");
        search(&mut s, &FLASK, 3);
        assert_eq!(lookups(&s), [("flask".into(), Outcome::NoSuchName, 4)]);
        let mut s = script("");
        search(&mut s, &["api.foo.com", "api.bar.com"], 3);
        assert_eq!(lookups(&s).len(), 2);
    }

    #[test]
    fn one_expansion_that_resolves_makes_the_lookup_good() {
        let mut s = script(CONF);
        search(&mut s, &FLASK[..1], 3);
        s.ask(INIT, 5, 7, FLASK[1]).reply(
            INIT,
            5,
            SERVER,
            dns::answer(7, FLASK[1], &[[10, 0, 0, 7]]),
        );
        s.reply(INIT, 5, SERVER, dns::response(8, FLASK[1], 28, 2));
        assert_eq!(lookups(&s), [("flask".into(), Outcome::Resolved, 2)]);
    }

    #[test]
    fn a_dotted_name_is_recognised_whatever_is_tried_first() {
        let mut s = script(CONF);
        search(
            &mut s,
            &[
                "db.example.com.default.svc.cluster.local",
                "db.example.com.svc.cluster.local",
                "db.example.com",
            ],
            3,
        );
        search(
            &mut s,
            &[
                "api.example.org",
                "api.example.org.default.svc.cluster.local",
            ],
            3,
        );
        let hosts: Vec<_> = lookups(&s).into_iter().map(|(host, ..)| host).collect();
        assert_eq!(hosts, ["db.example.com", "api.example.org"]);
    }

    #[test]
    fn asking_again_is_a_lookup_of_its_own_but_a_resend_is_not() {
        let mut s = script(CONF);
        s.ask(INIT, 5, 7, "flask").ask(INIT, 5, 7, "flask");
        assert_eq!(lookups(&s), [("flask".into(), Outcome::NoAnswer, 1)]);
        s.ask(INIT, 5, 70, "flask")
            .replies(INIT, 5, SERVER, 70, "flask", 2);
        let outcomes: Vec<_> = lookups(&s)
            .into_iter()
            .map(|(_, outcome, _)| outcome)
            .collect();
        assert_eq!(
            outcomes,
            [Outcome::NoAnswer, Outcome::ServerFailed(Rcode::SERVFAIL)]
        );
    }

    #[test]
    fn an_answer_of_another_socket_or_id_or_name_answers_nothing() {
        let mut s = script(CONF);
        s.ask(INIT, 5, 7, "flask");
        s.reply(INIT, 6, SERVER, dns::response(7, "flask", 1, 3));
        s.reply(INIT, 5, SERVER, dns::response(9, "flask", 1, 3));
        s.reply(INIT, 5, SERVER, dns::response(7, "flusk", 1, 3));
        s.reply(200, 5, SERVER, dns::response(7, "flask", 1, 3));
        assert_eq!(lookups(&s), [("flask".into(), Outcome::NoAnswer, 1)]);
    }

    #[test]
    fn a_second_server_can_make_good_for_the_first() {
        let mut s = script(CONF);
        s.ask(INIT, 5, 7, "flask")
            .replies(INIT, 5, SERVER, 7, "flask", 2);
        s.resolver_socket(INIT, 6, [1, 1, 1, 1])
            .ask(INIT, 6, 7, "flask");
        s.reply(
            INIT,
            6,
            [1, 1, 1, 1],
            dns::answer(7, "flask", &[[10, 0, 0, 7]]),
        );
        assert_eq!(lookups(&s), [("flask".into(), Outcome::Resolved, 1)]);
    }
}
