//! Relative attention over a grid: attention with a kernel of the displacement alone, added to the scores or to the weights.
//!
//! Shapes       q, k (B, heads, N, d), v (B, heads, N, e), table (heads, 2H−1, 2W−1), N = H·W -> o (B, heads, N, e), lse (B, heads, N)
//! Forward      (F1) b_tu = table[r_t − r_u + H−1, c_t − c_u + W−1], or that of (u, t)    (F2) z = scale·q kᵀ, and "pre" + b
//!              (F3) lse = log Σ exp z    (F4) a = e / Σ e, e = exp(z − lse)    (F5) m = a, or "post" a + b    (F6) o = m v
//! Backward     (B1) dv = mᵀ do    (B2) dm = do vᵀ    (B3) dz = a·(dm − Σ a·dm)    (B4) dq = scale·dz k, dk = scale·dzᵀ q
//!              (B5) dtable = Σ of db over the pairs that read it, db = Σ_B dz, or "post" dm
//! Constraints  (C1) shapes    (C2) H·W = N    (C3) the table's shape    (C4) form and sign    (C5) a finite scale
//!
//! * The tiles are those of `attention`; a tile's rows of the bias are copied from the table, one piece for each row of the grid: read
//!   from its end, the table holds what a token meets along a row of the grid as one piece. All entries of the batch use what was
//!   copied for one head. No thread holds more of the bias than some queries (forward) or one head (backward).
//! * The gradient of the table is added up head by head, in groups of entries that do not depend on the threads.

mod forward;
#[cfg(test)]
mod tests;

pub use forward::forward;

use crate::attention::backward::{Bias, backward_with};
use crate::attention::blocks::across;
use crate::attention::{self, Gradients, Inputs};
use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::lanes::{Isa, Task, V, Vector};
use crate::planes::{product, require_len};
use crate::real::Real;

pub struct Dims {
    attention: attention::Dims,
    batch: usize,
    heads: usize,
    tokens: usize,
    /// Of a value.
    width: usize,
    size: (usize, usize),
    /// Entries of the table of one head.
    entries: usize,
    /// Query − key; otherwise key − query.
    from_key: bool,
}

impl Dims {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        q: &[usize],
        k: &[usize],
        v: &[usize],
        table: &[usize],
        size: (usize, usize),
        form: &str,
        sign: &str,
        scale: Option<f64>,
    ) -> Result<Dims, Error> {
        let (&[batch, heads, tokens, _], &[_, _, _, width]) = (q, v) else {
            return Err(Error::Shape(format!("(C1) q, v: four axes expected, got {q:?} and {v:?}")));
        };
        require(q == k && v[..3] == q[..3], || {
            format!("(C1) q, k, v: (B, heads, N, d) twice and (B, heads, N, e) expected, got {q:?}, {k:?} and {v:?}")
        })?;
        let (h, w) = size;
        require(h > 0 && w > 0 && h.checked_mul(w) == Some(tokens), || {
            format!("(C2) size: a grid of {tokens} tokens expected, got {size:?}")
        })?;
        let spans = (h.checked_mul(2).map(|n| n - 1), w.checked_mul(2).map(|n| n - 1));
        let (Some(rows), Some(columns)) = spans else {
            return Err(Error::Shape(format!("(C2) size: {size:?} is too large")));
        };
        require(table == [heads, rows, columns], || {
            format!("(C3) table: ({heads}, {rows}, {columns}) expected, got shape {table:?}")
        })?;
        let post = match form {
            "pre" => false,
            "post" => true,
            _ => return Err(Error::Shape(format!("(C4) form: pre or post expected, got {form:?}"))),
        };
        let from_key = match sign {
            "query - key" => true,
            "key - query" => false,
            _ => return Err(Error::Shape(format!("(C4) sign: query - key or key - query expected, got {sign:?}"))),
        };
        product(table)?;
        let bias = [1, heads, tokens, tokens];
        let mut attention = attention::Dims::new(q, k, v, Some(&bias), scale)?;
        attention.post = post;
        Ok(Dims { attention, batch, heads, tokens, width, size, entries: product(&[rows, columns])?, from_key })
    }

    pub fn o_shape(&self) -> [usize; 4] {
        self.attention.o_shape()
    }

    pub fn lse_shape(&self) -> [usize; 3] {
        self.attention.lse_shape()
    }

    /// Where, in a table whose columns count from the token to its partner, token t begins to read for each row of partners.
    fn starts(&self, t: usize) -> impl Iterator<Item = usize> {
        let (h, w) = self.size;
        let (row, column) = (t / w, t % w);
        (0..h).map(move |r| (h - 1 + r - row) * (2 * w - 1) + (w - 1 - column))
    }
}

/// What each token from `first` on meets along its partners, in rows `pitch` apart.
struct Along<'a, T> {
    table: &'a [T],
    first: usize,
    rows: &'a mut [T],
    pitch: usize,
    d: &'a Dims,
}

impl<T: Real> Task for Along<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (d, w, lanes) = (self.d, self.d.size.1, V::<T, I>::LANES);
        for (r, row) in self.rows.chunks_exact_mut(self.pitch).enumerate() {
            for (to, start) in row[..d.tokens].chunks_exact_mut(w).zip(d.starts(self.first + r)) {
                let from = &self.table[start..][..w];
                for k in (0..w).step_by(lanes) {
                    let n = lanes.min(w - k);
                    V::<T, I>::load_partial(&from[k..], n).store_partial(&mut to[k..], n); // (F1)
                }
            }
        }
    }
}

/// The table of every head, from its end if `flip`.
fn laid_out<T: Real>(table: &[T], d: &Dims, flip: bool) -> Result<Buffer<T>, Error> {
    require_len("table", table, d.heads * d.entries)?;
    let mut laid = zeros::<T>(table.len())?;
    laid.copy_from_slice(table);
    if flip {
        laid.chunks_exact_mut(d.entries).for_each(<[T]>::reverse);
    }
    Ok(laid)
}

/// Keys down, queries across: the tokens of [`Along`] are keys.
struct Across<'a, T> {
    table: &'a [T],
    d: &'a Dims,
}

impl<T: Real> Bias<T> for Across<'_, T> {
    fn size(&self) -> usize {
        self.d.entries
    }

    fn read(&self, head: usize, bias: &mut [T], exec: &Exec) {
        let table = &self.table[head * self.d.entries..][..self.d.entries];
        exec.run(Along { table, first: 0, rows: bias, pitch: across(self.d.tokens), d: self.d });
    }

    fn write(&self, dbias: &[T], to: &mut [T], _exec: &Exec) {
        to.fill(T::ZERO);
        let w = self.d.size.1;
        for (key, row) in dbias.chunks_exact(across(self.d.tokens)).enumerate() {
            for (from, start) in row.chunks_exact(w).zip(self.d.starts(key)) {
                for (sum, &from) in to[start..][..w].iter_mut().zip(from) {
                    *sum += from; // (B5)
                }
            }
        }
    }
}

/// dq, dk, dv and, in `grads.bias`, dtable.
pub fn backward<T: Real>(
    dy: &[T],
    inputs: Inputs<T>,
    table: &[T],
    lse: &[T],
    grads: Gradients<T>,
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    let table = laid_out(table, d, !d.from_key)?;
    let source = Across { table: &table, d };
    let Gradients { q, k, v, bias } = grads;
    let dtable = bias.unwrap_or_default();
    require_len("dtable", dtable, table.len())?;
    inputs.check_without_bias(&d.attention)?;
    // (B1) (B2) (B3) (B4)
    backward_with(dy, inputs, lse, Gradients { q, k, v, bias: Some(dtable) }, &d.attention, &source, exec)?;
    if !d.from_key {
        dtable.chunks_exact_mut(d.entries).for_each(<[T]>::reverse);
    }
    Ok(())
}
