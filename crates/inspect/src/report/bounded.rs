//! Lists with a limit, so that the page is small enough to be mailed whatever the size of the capture.

use maud::{Markup, PreEscaped, Render};

/// The part of a list that fits into the page.
pub(super) struct Bounded {
    /// The last items, in their order.
    pub(super) items: Markup,
    /// How many items at the start were left out.
    pub(super) left_out: usize,
}

/// Renders as many of the last items as fit into `bytes` of markup: the end of a run says more than its start.
pub(super) fn newest<T>(
    items: impl DoubleEndedIterator<Item = T> + ExactSizeIterator,
    bytes: usize,
    render: impl Fn(T) -> Markup,
) -> Bounded {
    let (mut fitting, mut size, mut left_out) = (Vec::new(), 0, items.len());
    for item in items.rev() {
        let markup = render(item).into_string();
        size += markup.len();
        if size > bytes {
            break;
        }
        fitting.push(markup);
        left_out -= 1;
    }
    fitting.reverse();
    Bounded {
        items: PreEscaped(fitting.concat()),
        left_out,
    }
}

/// Renders items until `bytes` of markup are used; the first items matter most.
pub(super) fn first<T>(
    items: impl ExactSizeIterator<Item = T>,
    bytes: usize,
    render: impl Fn(T) -> Markup,
) -> Bounded {
    let (mut markup, mut left_out) = (String::new(), items.len());
    for item in items {
        let next = render(item).into_string();
        if markup.len() + next.len() > bytes {
            break;
        }
        markup.push_str(&next);
        left_out -= 1;
    }
    Bounded {
        items: PreEscaped(markup),
        left_out,
    }
}

impl Render for Bounded {
    fn render_to(&self, page: &mut String) {
        self.items.render_to(page);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_items_give_way() {
        let bounded = newest(0..100, 10, |number| PreEscaped(format!("{number},")));
        assert_eq!(
            (bounded.items.into_string().as_str(), bounded.left_out),
            ("97,98,99,", 97)
        );
        let bounded = first(0..100, 10, |number| PreEscaped(format!("{number},")));
        assert_eq!(
            (bounded.items.into_string().as_str(), bounded.left_out),
            ("0,1,2,3,4,", 95)
        );
    }
}
