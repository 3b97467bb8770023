//! Credentials that are known by their shape: a table of regular expressions on bytes.
//!
//! The first group of a pattern is masked, or all that matches where it has none. Shapes are those their issuers document.

/// One row.
pub(crate) struct Known {
    /// Name of the rule; several patterns may share it.
    pub(crate) rule: &'static str,
    pub(crate) pattern: &'static str,
    /// Whether what the group holds can be a credential at all; prose may stand in the same place.
    pub(crate) accept: fn(&[u8]) -> bool,
}

/// Rules of lastword's own that are no row of the table.
pub(crate) const OTHER_RULES: &[&str] = &[
    "credential",
    "environment",
    "private_key",
    "secret_file",
    "command_line",
    "annotation",
    "http_header",
    "payload",
];

const fn row(rule: &'static str, pattern: &'static str) -> Known {
    Known {
        rule,
        pattern,
        accept: any,
    }
}

const fn if_(rule: &'static str, pattern: &'static str, accept: fn(&[u8]) -> bool) -> Known {
    Known {
        rule,
        pattern,
        accept,
    }
}

/// The table. Every pattern is compiled with `(?i-u)` off unless it says so: bytes, not characters.
pub(crate) const KNOWN: &[Known] = &[
    // RFC 9110, section 11: schemes whose parameters fill the line, then those of one token.
    row(
        "authorization",
        r#"(?i)\bauthorization\\*["']?[ \t]*[:=][ \t]*\\*["']?(?:digest|negotiate|oauth|hawk|ntlm|aws4-hmac-sha256|apikey)[ \t]+([^\r\n\x00]+)"#,
    ),
    row(
        "authorization",
        r#"(?im)^(?:[<>*] )?(?:proxy-)?authorization:[ \t]*(?:(?:basic|bearer|token|apikey|digest|negotiate|oauth|hawk|ntlm|aws4-hmac-sha256)[ \t]+)?([^\r\n\x00]+)"#,
    ),
    if_(
        "authorization",
        r#"(?i)\bauthorization\\*["']?[ \t]*[:=][ \t]*\\*["']?(?:(?:basic|bearer|token|apikey)[ \t]+)?([^\s"'\\,;\x00]+)"#,
        looks_random,
    ),
    if_(
        "authorization",
        r"(?i)\b(?:bearer|basic)[ \t]+([A-Za-z0-9._~+/=-]{6,})",
        looks_random,
    ),
    if_(
        "cookie",
        r#"(?i)\b(?:set-)?cookie2?\\*["']?[ \t]*:[ \t]*\\*["']?([^\r\n"'\x00]+)"#,
        |value| value.contains(&b'='),
    ),
    row(
        "api_key_header",
        r#"(?i)\b(?:x(?:-[a-z0-9]+)*-(?:key|token|secret|auth|signature|session|credential)(?:-[a-z0-9]+)*|api-key|private-token|job-token|ocp-apim-subscription-key)\\*["']?[ \t]*[:=][ \t]*\\*["']?([^\r\n"'\x00]+)"#,
    ),
    row(
        "aws_key",
        r"\b((?:A3T[A-Z0-9]|AKIA|ASIA|AGPA|AIDA|AROA|AIPA|ANPA|ANVA|ABIA|ACCA)[A-Z0-9]{16})\b",
    ),
    // RFC 3986, section 3.2.1. Databases get passwords that nobody encoded.
    row(
        "url_password",
        r#"(?i)\b(?:postgres(?:ql)?|mysql|mariadb|mongodb|redis|rediss|amqps?)(?:\+[a-z]+)?://[^\s:@/"'<>]*:([^\s"'<>\x00]+)@"#,
    ),
    row(
        "url_password",
        r#"(?i)[a-z0-9+.-]://[^\s:@/"'<>]*:([^\s/"'<>\x00]+)@"#,
    ),
    row(
        "url_password",
        r#"(?i)[a-z0-9+.-]://([^\s:@/"'<>\x00]{20,})@"#,
    ),
    // The DSN of Go's MySQL driver.
    row(
        "url_password",
        r#"[^\s:@/"'=]+:([^\s"'\x00]+)@(?:tcp|tcp6|unix)\("#,
    ),
    // RFC 7519: base64url of `{"` starts each of the first two parts.
    row("jwt", r"\b(eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4})"),
    row(
        "token",
        r"\b(gh[pousr]_[A-Za-z0-9]{16,}|github_pat_[A-Za-z0-9_]{16,}|gl[a-z]{2,6}-[A-Za-z0-9_=-]{16,}|xox[a-z]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{8,}|(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}|whsec_[A-Za-z0-9]{8,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{16,}|1//0[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9_-]{20,}|npm_[A-Za-z0-9]{20,}|pypi-[A-Za-z0-9_-]{20,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|do[opr]_v1_[a-f0-9]{32,}|hf_[A-Za-z0-9]{30,}|hv[sbr]\.[A-Za-z0-9_-]{20,}|dckr_pat_[A-Za-z0-9_-]{16,}|AGE-SECRET-KEY-1[A-Z0-9]{30,})",
    ),
    row(
        "token",
        r"\bhooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)",
    ),
    row("token", r"\b(\d{8,10}:AA[A-Za-z0-9_-]{30,})"),
    // crypt(5).
    row(
        "password_hash",
        r#"(\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2(?:i|d|id)|scrypt|pbkdf2[a-z0-9-]*)\$[^\s:"'\x00]{8,})"#,
    ),
    // netrc(5), SQL, redis.conf, and the words of SMTP, POP3 and FTP.
    row(
        "credential",
        r"(?i)\blogin[ \t]+\S+\s+password[ \t]+([^\s\x00]+)",
    ),
    row(
        "credential",
        r"(?i)\b(?:identified\s+(?:with\s+\S+\s+)?by|password)\s+'([^'\x00]+)",
    ),
    row(
        "credential",
        r"(?im)^[ \t]*(?:requirepass|masterauth)[ \t]+([^\s\x00]+)",
    ),
    row(
        "credential",
        r"(?im)^AUTH[ \t]+(?:PLAIN|LOGIN|XOAUTH2)[ \t]+([^\s\x00]+)",
    ),
    row("credential", r"(?m)^PASS[ \t]+([^\r\n\x00]+)\r\n"),
    // RESP, the protocol of Redis: AUTH [user] password.
    row(
        "credential",
        r"(?i)\$4\r\nAUTH\r\n\$\d+\r\n([^\r]+(?:\r\n\$\d+\r\n[^\r]+)?)\r\n",
    ),
    row(
        "credential",
        r"(?i)<(?:[a-z0-9_.:-]*(?:password|passwd|passphrase|secret|token|apikey|api-key|api_key))(?:\s[^<>]*)?>([^<>\x00]+)</",
    ),
    // PasswordMessage of PostgreSQL's protocol, version 3: `p`, length, password, NUL.
    row(
        "credential",
        r"(?s-u)\Ap\x00\x00[\x00-\x03].([^\x00]+)\x00\z",
    ),
    // What tools take as user:password.
    row(
        "command_line",
        r#"\b(?:curl|wget|http|https)\b[^\n|;&\x00]*\s(?:-u|--user|-U|--proxy-user)[= ]*["']?[^\s:"'\x00]+:([^\s"'\x00]+)"#,
    ),
    row(
        "command_line",
        r#"\b(?:mysql|mysqldump|mysqladmin|mysqlimport|mariadb|mariadb-dump|mariadb-admin)\b[^\n|;&\x00]*\s-p([^\s"'\x00]+)"#,
    ),
    row(
        "command_line",
        r#"\b(?:sshpass\s+-p|redis-cli\b[^\n|;&\x00]*\s(?:-a|--pass)|(?:docker|podman|nerdctl)\s+login\b[^\n|;&\x00]*\s-p)[= ]*["']?([^\s"'\x00]+)"#,
    ),
];

fn any(_: &[u8]) -> bool {
    true
}

/// Not a word of prose: a digit, base64's padding, or a capital after a small letter.
fn looks_random(value: &[u8]) -> bool {
    let mixed = value
        .windows(2)
        .any(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase());
    let padded = value.ends_with(b"=") && value.len().is_multiple_of(4);
    value.len() >= 6 && (mixed || padded || value.iter().any(u8::is_ascii_digit))
}
