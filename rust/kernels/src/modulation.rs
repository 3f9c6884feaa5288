//! Modulation: the value of every token is multiplied, channel by channel, by what a convolutional branch computed for its pixel.
//!
//! Shapes       v (N, T, C), tokens; modulator (N, C, H, W), a map of T = H·W pixels -> z (N, T, C)
//! Forward      (F1) m[n, t, c] = modulator[n, c, t]    (F2) z = m·v
//! Backward     (B1) dv = m·dz    (B2) dmodulator[n, c, t] = (dz·v)[n, t, c]
//! Constraints  (C1) v is (N, T, C)    (C2) modulator is (N, C, H, W) with H·W = T
//!
//! A task has some tokens with all their channels; the map's part that belongs to them is turned in work space.

use crate::error::{Error, require};
use crate::exec::{Buffer, Exec, zeros};
use crate::gemm::{Share, columns_apart, transpose};
use crate::lanes::{Isa, Row, Task, V, Vector, is_large};
use crate::planes::{product, require_len};
use crate::real::Real;

/// Elements of a task, at least 16 tokens.
const PART: usize = 1 << 13;

#[derive(Clone, Copy, Debug)]
pub struct Dims {
    images: usize,
    tokens: usize,
    channels: usize,
}

impl Dims {
    pub fn new(v: &[usize], modulator: &[usize]) -> Result<Dims, Error> {
        let &[images, tokens, channels] = v else {
            return Err(Error::Shape(format!("(C1) v: (N, T, C) expected, got shape {v:?}")));
        };
        product(v)?;
        let fits = match *modulator {
            [n, c, h, w] => n == images && c == channels && product(&[h, w])? == tokens,
            _ => false,
        };
        require(fits, || {
            format!(
                "(C2) modulator: ({images}, {channels}, H, W) with H·W = {tokens} expected, got shape {modulator:?}"
            )
        })?;
        product(modulator)?;
        Ok(Dims { images, tokens, channels })
    }

    fn len(&self) -> usize {
        self.images * self.tokens * self.channels
    }

    /// Tokens of a task.
    fn each(&self) -> usize {
        (PART / self.channels.max(1)).max(1).next_multiple_of(16)
    }

    /// The image and the first token of every task.
    fn starts(&self, each: usize) -> impl Iterator<Item = (usize, usize)> + Send + use<> {
        let tokens = self.tokens;
        (0..self.images).flat_map(move |n| (0..tokens).step_by(each).map(move |t| (n, t)))
    }
}

pub fn forward<T: Real>(v: &[T], modulator: &[T], z: &mut [T], d: &Dims, exec: &Exec) -> Result<(), Error> {
    for (name, array) in [("v", v), ("modulator", modulator), ("z", z)] {
        require_len(name, array, d.len())?;
    }
    if d.len() == 0 {
        return Ok(());
    }
    let (part, large) = (d.each() * d.channels, is_large(z));
    let tasks = z.chunks_mut(d.tokens * d.channels).flat_map(|z| z.chunks_mut(part)).zip(d.starts(d.each()));
    exec.for_each_with(
        d.len(),
        tasks,
        || zeros(part),
        |m: &mut Buffer<T>, (z, (n, t))| {
            let from = &v[(n * d.tokens + t) * d.channels..][..z.len()];
            exec.run(Forward {
                modulator: &modulator[n * d.tokens * d.channels + t..],
                v: from,
                m: &mut m[..z.len()],
                z,
                large,
                d,
            });
        },
    )
}

/// The map from the first pixel of some tokens on; v, z and the work space m of these tokens.
struct Forward<'a, T> {
    modulator: &'a [T],
    v: &'a [T],
    m: &'a mut [T],
    z: &'a mut [T],
    /// Whether all of z is.
    large: bool,
    d: &'a Dims,
}

impl<T: Real> Task for Forward<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (c, n) = (self.d.channels, self.z.len() / self.d.channels);
        transpose::<T, I>(self.modulator, self.d.tokens, c, n, self.m, c); // (F1)
        multiply::<T, I>(self.m, self.v, Row::new(self.z, self.large)); // (F2)
    }
}

/// z = a·b
#[inline(always)]
fn multiply<T: Real, I: Isa>(a: &[T], b: &[T], mut z: Row<T>) {
    let (n, lanes) = (a.len(), V::<T, I>::LANES);
    let b = &b[..n];
    let mut k = 0;
    while k + lanes <= n {
        z.put::<I>(k, V::<T, I>::load(&a[k..]) * V::<T, I>::load(&b[k..]));
        k += lanes;
    }
    let last = V::<T, I>::load_partial(&a[k..], n - k) * V::<T, I>::load_partial(&b[k..], n - k);
    z.put_partial::<I>(k, n - k, last);
}

pub fn backward<T: Real>(
    dz: &[T],
    v: &[T],
    modulator: &[T],
    dv: &mut [T],
    dmodulator: &mut [T],
    d: &Dims,
    exec: &Exec,
) -> Result<(), Error> {
    for (name, len) in
        [("dz", dz.len()), ("v", v.len()), ("modulator", modulator.len()), ("dmodulator", dmodulator.len())]
    {
        require(len == d.len(), || format!("{name} has {len} elements, expected {}", d.len()))?;
    }
    require_len("dv", dv, d.len())?;
    if d.len() == 0 {
        return Ok(());
    }
    let each = columns_apart::<T>(d.each(), d.images, (d.channels, d.tokens), exec).min(d.each().max(d.tokens));
    let (image, large) = (d.tokens * d.channels, is_large(dv));
    let maps = Share::of_result(dmodulator, d.images, d.channels, d.tokens);
    let maps = maps.by_columns(d.tokens).flat_map(|map| map.by_columns(each));
    let tasks = dv.chunks_mut(image).flat_map(|dv| dv.chunks_mut(each * d.channels)).zip(maps).zip(d.starts(each));
    let space = || Ok([zeros(each * d.channels)?, zeros(each * d.channels)?]);
    exec.for_each_with(2 * d.len(), tasks, space, |[m, turned]: &mut [Buffer<T>; 2], ((dv, dmap), (n, t))| {
        let own = (n * d.tokens + t) * d.channels..;
        let (dz, v) = (&dz[own.clone()][..dv.len()], &v[own][..dv.len()]);
        let (m, turned) = (&mut m[..dv.len()], &mut turned[..dv.len()]);
        let modulator = &modulator[n * image + t..];
        exec.run(Backward { forward: Forward { modulator, v: dz, m, z: dv, large, d }, dz, v, dmap, turned });
    })
}

struct Backward<'a, 'b, T> {
    /// dv is to dz what z is to v.
    forward: Forward<'a, T>,
    dz: &'a [T],
    v: &'a [T],
    dmap: Share<'b, T>,
    turned: &'a mut [T],
}

impl<T: Real> Task for Backward<'_, '_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(mut self) {
        let c = self.forward.d.channels;
        let n = self.dz.len() / c;
        {
            let Forward { modulator, v, m, z, large, d } = self.forward;
            transpose::<T, I>(modulator, d.tokens, c, n, m, c);
            multiply::<T, I>(m, v, Row::new(z, large)); // (B1)
            multiply::<T, I>(self.dz, self.v, Row::new(m, false));
            transpose::<T, I>(m, c, n, c, self.turned, n);
        }
        let (first, past) = (self.dmap.columns().start, self.dmap.past());
        let mut to = self.dmap.from_column(first);
        for (row, from) in self.turned.chunks_exact(n).enumerate() {
            Row::new(to.row(row, 0..n), past).copy::<I>(from); // (B2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, grid, random, unwritten};

    fn check<T: Real>(images: usize, channels: usize, height: usize, width: usize) {
        let tokens = height * width;
        let d = Dims::new(&[images, tokens, channels], &[images, channels, height, width]).unwrap();
        let (v, map, dz) = (random::<T>(d.len(), 1), random::<T>(d.len(), 2), random::<T>(d.len(), 3));
        each_exec(|exec| {
            let (mut z, mut dv, mut dmap) = (unwritten::<T>(d.len()), unwritten::<T>(d.len()), unwritten::<T>(d.len()));
            forward(&v, &map, &mut z, &d, exec).unwrap();
            backward(&dz, &v, &map, &mut dv, &mut dmap, &d, exec).unwrap();
            for (n, t, c) in grid([images, tokens, channels]) {
                let (token, pixel) = ((n * tokens + t) * channels + c, (n * channels + c) * tokens + t);
                assert!(z[token] == map[pixel] * v[token] && dv[token] == map[pixel] * dz[token]);
                assert!(dmap[pixel] == dz[token] * v[token]);
            }
        });
    }

    #[test]
    fn literal_loops() {
        for (c, h, w) in grid([6, 4, 6]) {
            check::<f64>(2, c, h, w);
        }
        check::<f32>(2, 19, 7, 33);
        check::<f32>(1, 700, 3, 11);
        check::<f64>(3, 3, 61, 67);
    }

    #[test]
    fn errors() {
        assert!(Dims::new(&[1, 6], &[1, 2, 2, 3]).is_err() && Dims::new(&[1, 6, 2], &[1, 2, 6]).is_err());
        assert!(Dims::new(&[1, 6, 2], &[1, 2, 2, 2]).is_err() && Dims::new(&[1, 6, 2], &[2, 2, 2, 3]).is_err());
        assert!(Dims::new(&[0, 6, 2], &[0, 2, usize::MAX, usize::MAX]).is_err());
    }
}
