use super::*;

/// Each expression, and how it is written after it was parsed.
#[test]
fn what_is_accepted() {
    let expressions = [
        "proc.name=nginx and evt.type=openat and evt.failed=true",
        "fd.name contains error.log",
        "evt.res=ENOENT",
        "evt.res in (2, -13, SUCCESS, EAGAIN)",
        "evt.res=4000",
        "proc.pid in (1,7)",
        "proc.pid==0x1F",
        "proc.pid!=-3",
        "not proc.name exists",
        "not not(proc.name=a)or(proc.name=b)and proc.name=c",
        "proc.name=a or proc.name=b and proc.name=c",
        "(proc.name=a or proc.name=b) and proc.name=c",
        "((proc.pid>=7))",
        r"proc.name = 'it\'s'",
        r#"proc.name = "tab\t quote\" \xff \u{202e} \\ '""#,
        r"proc.name = a\nb",
        "proc.name = ''",
        "proc.name = \"and\"",
        "proc.cmdline = \"sh -c ./start\"",
        "fd.name startswith /etc/ and fd.name endswith .conf",
        "fd.name icontains ERROR",
        "fd.name glob /var/*/[a-c]?.log",
        "fd.name iglob \"*.{log,err}\"",
        r"fd.name regex .*/\d+\.log",
        r#"fd.name regex "(a|b)\"\s*'\n""#,
        "fd.name pmatch (/etc, '/var/log/')",
        "evt.time > 23:36:04.5",
        "evt.time >= 2026-11-20T23:36:04Z and evt.time < 2026-11-20T23:36:05.25+01:00",
        "evt.reltime < 1.5s or evt.reltime > 1m30s or evt.reltime = -20ms or evt.reltime < 1500",
        "fd.sip = 10.0.0.7 or fd.snet = 10.0.0.9/8 or fd.rip in (::1, fd00::/8)",
        "fd.type = ipv4",
        "evt.type in (open, openat, kind_4000)",
        "evt.arg.signal = SIGTERM or evt.arg[signal] = SIGKILL",
        "proc.aname = sh or proc.aname[2] = init or proc.apid[0] = 7",
        "  proc.pid\n=\t7  ",
    ];
    let written = expressions.map(|text| match Filter::parse(text) {
        Ok(filter) => {
            let written = filter.to_string();
            assert_eq!(Filter::parse(&written).as_ref(), Ok(&filter), "{written}");
            format!("{text}\n  {written}\n")
        }
        Err(error) => panic!("{error}"),
    });
    insta::assert_snapshot!(written.concat());
}

/// Each expression, and the exact error.
#[test]
fn what_is_refused() {
    let expressions = [
        "",
        "   ",
        "proc.name",
        "proc.name=",
        "proc.name= and evt.failed=true",
        "prc.name=nginx and evt.failed=true",
        "process.name=nginx",
        "nonsense",
        "proc.name nginx",
        "proc.name is nginx",
        "proc.name starts_with nginx",
        "proc.name=nginx evt.failed=true",
        "proc.name=nginx && evt.failed=true",
        "proc.name=nginx || evt.failed=true",
        "proc.name=nginx AND evt.failed=true",
        "proc.name=nginx and",
        "proc.name=nginx or or evt.failed=true",
        "and proc.name=nginx",
        "not",
        "(proc.name=nginx",
        "proc.name=nginx)",
        "()",
        "proc.name=(nginx)",
        "proc.name=\"nginx",
        "proc.args contains --log=debug",
        "proc.name='it's'",
        r#"proc.name="a\qb""#,
        r#"proc.name="a\x4""#,
        "proc.pid in 7",
        "proc.pid in ()",
        "proc.pid in (1, 7",
        "proc.pid in (1 7)",
        "proc.pid in (1, x)",
        "proc.pid=1.5",
        "proc.pid=99999999999999999999999999999999999999999",
        "proc.pid contains 7",
        "proc.name > nginx",
        "evt.failed=yes",
        "evt.type=opena",
        "evt.type=procexit",
        "evt.type=nothing-of-the-sort",
        "evt.res=ENOEN",
        "evt.res=99999",
        "fd.type=ipv5",
        "fd.sip=10.0.0",
        "fd.sip=10.0.0.0/33",
        "fd.sip startswith 10.",
        "evt.time > yesterday",
        "evt.time > 2026-11-20T23:36:04",
        "evt.reltime > soon",
        "evt.arg = x",
        "evt.arg[flag] = x",
        "evt.arg.nothing = x",
        "proc.name[1] = x",
        "proc.aname[x] = sh",
        "proc.aname[1 = sh",
        "fd.name regex [a",
        "fd.name regex 'a)|(b'",
        "fd.name glob [a",
        "tolower(proc.name) = nginx",
        "proc.name=起動 and prc.name=\x1b[31m",
    ];
    let refused = expressions.map(|text| match Filter::parse(text) {
        Ok(filter) => panic!("{text:?} was read as {filter}"),
        Err(error) => format!("{error}\n\n"),
    });
    insta::assert_snapshot!(refused.concat());
}

#[test]
fn and_binds_tighter_than_or() {
    let same = |a: &str, b: &str| assert_eq!(Filter::parse(a), Filter::parse(b), "{a}");
    let (a, b, c) = ("proc.pid=1", "proc.pid=2", "proc.pid=3");
    same(
        &format!("{a} or {b} and {c}"),
        &format!("{a} or ({b} and {c})"),
    );
    same(&format!("not {a} and {b}"), &format!("(not {a}) and {b}"));
}

#[test]
fn every_field_has_its_name_once_and_an_example_with_it() {
    let mut names = std::collections::HashSet::new();
    for field in fields() {
        assert!(names.insert(field.name), "{} twice", field.name);
        let example = Filter::parse(field.example);
        let example = example.unwrap_or_else(|error| panic!("{}: {error}", field.name));
        assert!(example.to_string().starts_with(field.name), "{example}");
        assert!(!field.meaning.ends_with('.'), "{}", field.meaning);
        assert_eq!(
            field.of == Type::Word,
            !field.words.is_empty(),
            "{}",
            field.name
        );
    }
}
