//! Against sums in double precision, for every tail and level.

use super::*;
use crate::lanes::Level;
use crate::testing::{difference, each_exec, grid, random, unwritten};

/// B as an array (images, groups, depth, columns), packed element by element.
struct Array<'a, T> {
    b: &'a [T],
    groups: usize,
    depth: usize,
    columns: usize,
}

impl<T: Real> Source<T> for Array<'_, T> {
    fn scratch(&self, _: usize) -> Result<usize, crate::error::Error> {
        Ok(0)
    }

    #[inline(always)]
    fn pack<I: Isa>(&self, group: usize, depth: Range<usize>, columns: Range<usize>, _: &mut [T], panels: &mut [T]) {
        panels.fill(T::NAN); // what completes a panel may be anything
        for (r, k) in depth.clone().enumerate() {
            for (at, column) in columns.clone().enumerate() {
                let (image, j) = (column / self.columns, column % self.columns);
                let b = self.b[((image * self.groups + group) * self.depth + k) * self.columns + j];
                panels[(at / PANEL * depth.len() + r) * PANEL + at % PANEL] = b;
            }
        }
    }
}

fn check<T: Real>(product: &Product, with_bias: bool, tolerance: f64) {
    let Product { images, groups, rows, depth, columns, .. } = *product;
    let (a, b) = (random::<T>(groups * rows * depth, 1), random::<T>(images * groups * depth * columns, 2));
    let bias = with_bias.then(|| random::<T>(groups * rows, 3));
    let mut turned = vec![T::ZERO; a.len()];
    for (group, k, row) in grid([groups, depth, rows]) {
        turned[(group * depth + k) * rows + row] = a[(group * rows + row) * depth + k];
    }
    let mut expected = Vec::new();
    for (n, row, j) in grid([images, groups * rows, columns]) {
        let b_row = |k| ((n * groups + row / rows) * depth + k) * columns + j;
        let sum: f64 = (0..depth).map(|k| a[row * depth + k].to_f64() * b[b_row(k)].to_f64()).sum();
        expected.push(sum + bias.as_ref().map_or(0.0, |bias| bias[row].to_f64()));
    }
    let mut found: Vec<(Level, Vec<T>)> = Vec::new();
    each_exec(|exec| {
        let mut y = unwritten::<T>(expected.len());
        let b = Array { b: &b, groups, depth, columns };
        product.run(Matrix::Rows(&a), &b, bias.as_deref(), &mut y, exec).expect("runs");
        let mut by_columns = unwritten::<T>(expected.len());
        product.run(Matrix::Columns(&turned), &b, bias.as_deref(), &mut by_columns, exec).expect("runs");
        assert_eq!(difference(&y, &by_columns), 0.0);
        let wide: Vec<f64> = y.iter().map(|y| y.to_f64()).collect();
        let error = difference(&wide, &expected);
        assert!(error <= tolerance, "{images} {groups} {rows} {depth} {columns} {:?}: {error:e}", exec.level());
        for (level, before) in &found {
            let both_fused = *level != Level::PORTABLE && exec.level() != Level::PORTABLE;
            assert!(*level != exec.level() && !both_fused || difference(before, &y) == 0.0);
        }
        found.push((exec.level(), y));
    });
}

#[test]
fn every_tail() {
    for rows in 1..=2 * MAX_ROWS + 1 {
        for columns in [1, 2, 7, 15, 16, 17, 31, 32, 33, 65] {
            for depth in [0, 1, 2, 9] {
                check::<f64>(
                    &Product { images: 1, groups: 1, rows, depth, block: DEPTH, columns },
                    rows % 2 == 0,
                    1e-14,
                );
            }
            check::<f32>(&Product { images: 3, groups: 2, rows, depth: 5, block: 2, columns }, true, 1e-6);
        }
    }
}

#[test]
fn long_sums_err_little() {
    for depth in [DEPTH - 1, DEPTH, DEPTH + 1, 5 * DEPTH + 3, 20_000] {
        // Of numbers below 1: the bound is eps·sqrt(depth), relative to 1 + |sum|.
        let tolerance = 6e-8 * (depth as f64).sqrt();
        check::<f32>(&Product { images: 2, groups: 1, rows: 15, depth, block: DEPTH, columns: 5 }, false, tolerance);
    }
}

#[test]
fn many_columns_and_rows_in_several_tasks() {
    for (rows, columns) in [(3, 1500), (200, 40), (61, 700)] {
        check::<f32>(&Product { images: 1, groups: 1, rows, depth: 300, block: 90, columns }, true, 1e-5);
        check::<f64>(&Product { images: 11, groups: 2, rows, depth: 4, block: 3, columns: columns / 11 }, false, 1e-13);
    }
}

#[test]
fn nothing_to_compute() {
    for (images, rows, columns) in [(0, 3, 4), (2, 0, 4), (2, 3, 0)] {
        check::<f32>(&Product { images, groups: 1, rows, depth: 5, block: DEPTH, columns }, true, 0.0);
    }
}

/// A sum of no terms over more columns than one task has: what comes next is nothing, too.
#[test]
fn no_terms_in_several_tasks() {
    let product = Product { images: 2, groups: 1, rows: 3, depth: 0, block: DEPTH, columns: 2000 };
    each_exec(|exec| {
        let mut y = unwritten::<f32>(2 * 3 * 2000);
        let x = Stored { x: &[], groups: 1, depth: 0, columns: 2000 };
        product.run(Matrix::Rows(&[]), &x, Some(&[1.0, 2.0, 3.0]), &mut y, exec).expect("runs");
        assert!(y.iter().enumerate().all(|(at, &y)| y == (at / 2000 % 3 + 1) as f32));
    });
}

#[test]
fn shares_cover_an_array_once() {
    let mut y = vec![0; 2 * 5 * 7];
    for share in Share::new(&mut y, 2, 5, 7).by_rows(2) {
        for mut part in share.by_columns(4) {
            let mut column = part.columns().start;
            while column < part.columns().end {
                let rows = part.rows();
                let mut columns = part.from_column(column);
                let room = columns.room();
                for row in rows {
                    columns.row(row, 0..room).iter_mut().for_each(|y| *y += 1);
                }
                column += room;
            }
        }
    }
    assert_eq!(y, vec![1; 70]);
}

#[test]
#[should_panic(expected = "assertion failed")]
fn a_share_keeps_to_its_rows() {
    let mut y = vec![0; 12];
    let mut second = Share::new(&mut y, 1, 4, 3).by_rows(2).nth(1).expect("two shares");
    second.from_column(0).row(1, 0..3);
}

#[test]
fn transpose_of_every_small_size() {
    check_transpose::<f32>();
    check_transpose::<f64>();
}

fn check_transpose<T: Real>() {
    for (rows, columns, spare) in grid([38, 22, 2]) {
        let (x_pitch, y_pitch) = (columns + spare, rows + spare);
        let x = random::<T>(rows * x_pitch, 1);
        each_exec(|exec| {
            let mut y = vec![T::from_f64(9.0); columns * y_pitch];
            exec.run(Transpose { x: &x, x_pitch, rows, columns, y: &mut y, y_pitch });
            for (r, c, _) in grid([rows, columns, 1]) {
                assert!(y[c * y_pitch + r] == x[r * x_pitch + c]);
            }
            assert_eq!(y.iter().filter(|&&y| y == T::from_f64(9.0)).count(), columns * spare);
        });
    }
}
