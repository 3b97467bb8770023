//! Numbers as digits, appended to a line.

/// Appends a number.
pub(super) fn push_number(out: &mut String, number: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Appends a number, padded on the left with spaces to `width` characters.
pub(super) fn push_wide(out: &mut String, number: impl itoa::Integer, width: usize) {
    push_right(out, itoa::Buffer::new().format(number), width);
}

/// Appends ASCII text, padded on the left with spaces to `width` characters.
pub(super) fn push_right(out: &mut String, text: &str, width: usize) {
    push_spaces(out, width.saturating_sub(text.len()));
    out.push_str(text);
}

/// Appends text, padded on the right with spaces to `width` characters.
pub(super) fn push_left(out: &mut String, text: &str, width: usize) {
    out.push_str(text);
    let characters = if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    };
    push_spaces(out, width.saturating_sub(characters));
}

/// Appends a number below ten to the power of `digits`, padded with zeros on the left.
pub(super) fn push_zeros(out: &mut String, number: u64, digits: usize) {
    let mut buffer = itoa::Buffer::new();
    let text = buffer.format(number);
    out.push_str(&"000000000"[text.len().min(digits)..digits]);
    out.push_str(text);
}

fn push_spaces(out: &mut String, count: usize) {
    out.extend(std::iter::repeat_n(' ', count));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_as_wide_as_the_formatter_makes_them() {
        let mut out = String::new();
        for number in [0u64, 7, 123_456, 1_234_567] {
            push_wide(&mut out, number, 6);
            push_zeros(&mut out, number % 1_000_000, 6);
            push_zeros(&mut out, number, 9);
            let expected = format!("{number:>6}{:06}{number:09}", number % 1_000_000);
            assert_eq!(std::mem::take(&mut out), expected);
        }
        for text in ["", "sh", "起動", "twelve bytes", "more than twelve"] {
            push_left(&mut out, text, 12);
            assert_eq!(std::mem::take(&mut out), format!("{text:<12}"));
        }
        push_number(&mut out, i64::MIN);
        assert_eq!(out, i64::MIN.to_string());
    }
}
