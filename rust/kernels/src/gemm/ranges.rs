//! How rows, terms and columns are cut.

use std::ops::Range;

use super::MAX_ROWS;
use crate::exec::Exec;
use crate::lanes::{Isa, LINE, Task};

/// Consecutive ranges of `each` that make up `whole`.
pub fn pieces(whole: Range<usize>, each: usize) -> impl Iterator<Item = Range<usize>> + Send {
    let each = each.max(1);
    whole.clone().step_by(each).map(move |start| start..(start + each).min(whole.end))
}

/// Some columns, counted through all images of `width` columns, as (image, columns of that image, how many came before).
pub fn in_images(
    columns: Range<usize>,
    width: usize,
) -> impl Iterator<Item = (usize, Range<usize>, usize)> + Clone + Send {
    (columns.start / width..columns.end.div_ceil(width)).map(move |image| {
        let first = image * width;
        let (start, end) = (columns.start.max(first), columns.end.min(first + width));
        (image, start - first..end - first, start - columns.start)
    })
}

/// `count` ranges that make up 0..len, as equal as can be.
pub fn even(len: usize, count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).map(move |i| i * len / count..(i + 1) * len / count)
}

/// Most elements of an image that is one task: with all that belongs to them they fit into the second cache.
const WHOLE: usize = 1 << 16;

/// Columns of a task that writes all rows of them in maps (images, rows, width): `each`, but whole images where rows do not end on lines
/// of the cache, if all threads have enough to do then. Two threads that write the same line wait for each other.
pub fn columns_apart<T>(each: usize, images: usize, (rows, width): (usize, usize), exec: &Exec) -> usize {
    let apart = exec.threads() == 1 || (width * size_of::<T>()).is_multiple_of(LINE);
    if apart || images < 2 * exec.threads() || rows * width > WHOLE { each } else { each.next_multiple_of(width) }
}

/// Most rows of a tile at the level of `exec`.
pub fn tile_rows(exec: &Exec) -> usize {
    struct Rows;
    impl Task for Rows {
        type Out = usize;
        #[inline(always)]
        fn run<I: Isa>(self) -> usize {
            if I::REGISTERS >= 32 { MAX_ROWS } else { 6 }
        }
    }
    exec.run(Rows)
}
