//! Disjoint parts of one array, for tasks to write.

// Safe Rust cannot cut an array into rectangles.
#![allow(unsafe_code)]

use std::marker::PhantomData;
use std::ops::Range;

use super::{PANEL, pieces};
use crate::lanes::{LINE, is_large};

/// Part of an array (images, rows, columns): the rows `rows` at the columns `columns`, counted through all images.
pub struct Share<'a, T> {
    start: *mut T,
    height: usize,
    width: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    /// Whether what is written goes past the caches.
    past: bool,
    array: PhantomData<&'a mut [T]>,
}

// SAFETY: a share is used like the `&mut [T]` it was made from, and no two shares have an element in common.
unsafe impl<T: Send> Send for Share<'_, T> {}

impl<'a, T> Share<'a, T> {
    /// All of y (images, height, width).
    pub fn new(y: &'a mut [T], images: usize, height: usize, width: usize) -> Self {
        assert_eq!(y.len(), images * height * width);
        Self {
            start: y.as_mut_ptr(),
            height,
            width,
            rows: 0..height,
            columns: 0..images * width,
            past: false,
            array: PhantomData,
        }
    }

    /// The same for a result of which every element is written once: where rows begin on lines of the cache, a large one goes past it.
    pub fn of_result(y: &'a mut [T], images: usize, height: usize, width: usize) -> Self {
        let past = is_large(y) && (y.as_ptr().addr() | (width * size_of::<T>())).is_multiple_of(LINE);
        Share { past, ..Share::new(y, images, height, width) }
    }

    /// Whether what is written goes past the caches.
    pub fn past(&self) -> bool {
        self.past
    }

    pub fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    pub fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    fn part(&self, rows: Range<usize>, columns: Range<usize>) -> Share<'a, T> {
        Share { rows, columns, ..*self }
    }

    /// Disjoint shares of `each` rows, the last one fewer.
    pub fn by_rows(self, each: usize) -> impl Iterator<Item = Share<'a, T>> + Send
    where
        T: Send,
    {
        pieces(self.rows(), each).map(move |rows| self.part(rows, self.columns()))
    }

    /// Disjoint shares of `each` columns, the last one fewer.
    pub fn by_columns(self, each: usize) -> impl Iterator<Item = Share<'a, T>> + Send
    where
        T: Send,
    {
        pieces(self.columns(), each).map(move |columns| self.part(self.rows(), columns))
    }

    /// The columns from `column` to the end of its image or of the share.
    #[inline]
    pub fn from_column(&mut self, column: usize) -> Columns<'_, 'a, T> {
        assert!(self.columns.contains(&column));
        let (image, inside) = (column / self.width, column % self.width);
        let room = (self.width - inside).min(self.columns.end - column);
        Columns { offset: image * self.height * self.width + inside, room, share: self }
    }
}

/// Columns of one image of a share.
pub struct Columns<'s, 'a, T> {
    share: &'s mut Share<'a, T>,
    offset: usize,
    room: usize,
}

impl<T> Columns<'_, '_, T> {
    /// How many columns there are.
    #[inline(always)]
    pub fn room(&self) -> usize {
        self.room
    }

    /// The first columns of some rows, if there are enough for a panel.
    pub fn panel(&mut self, rows: Range<usize>) -> Option<Place<T>> {
        let share = &*self.share;
        assert!(share.rows.start <= rows.start && rows.start <= rows.end && rows.end <= share.rows.end);
        // SAFETY: rows and columns belong to this share, hence lie in the array.
        let start = || unsafe { share.start.add(self.offset + rows.start * share.width) };
        (self.room >= PANEL && !rows.is_empty()).then(|| {
            let start = start();
            Place { start, pitch: share.width, past: share.past && start.addr().is_multiple_of(LINE) }
        })
    }

    /// Some of these columns in a row of the share.
    #[inline(always)]
    pub fn row(&mut self, row: usize, columns: Range<usize>) -> &mut [T] {
        let share = &*self.share;
        assert!(
            share.rows.start <= row && row < share.rows.end && columns.start <= columns.end && columns.end <= self.room
        );
        let first = self.offset + row * share.width + columns.start;
        // SAFETY: row and columns belong to this share, hence lie in the array, and no other share holds them; the borrow of the
        // share lasts as long as the slice.
        unsafe { std::slice::from_raw_parts_mut(share.start.add(first), columns.len()) }
    }
}

/// Where the sums of a tile go: the columns of a panel in some rows, `pitch` apart.
#[derive(Clone, Copy)]
pub struct Place<T> {
    start: *mut T,
    pitch: usize,
    past: bool,
}

impl<T> Place<T> {
    /// Rows of their own.
    pub fn of(rows: &mut [[T; PANEL]]) -> Self {
        Place { start: rows.as_mut_ptr().cast(), pitch: PANEL, past: false }
    }

    /// Whether the sums go past the caches; then every row begins on a line.
    #[inline(always)]
    pub fn past(&self) -> bool {
        self.past
    }

    /// `n` elements of row `r`, from `column` on.
    ///
    /// # Safety
    /// The place has that row, column + n <= PANEL, and nothing else refers to these elements.
    #[inline(always)]
    pub unsafe fn lanes<'p>(self, r: usize, column: usize, n: usize) -> &'p mut [T] {
        // SAFETY: as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(r * self.pitch + column), n) }
    }
}
