//! An expanded channel of a tile, between the two products.

use super::pass::Pass;
use crate::gelu;
use crate::lanes::{self, Isa, MAX_LANES, V, Vector};
use crate::real::Real;

/// Expanded channel r of a tile.
pub struct Row<'a, T> {
    pub pass: &'a Pass<'a, T>,
    pub r: usize,
    /// x of the group, a row for each head.
    pub x: &'a [T],
}

impl<T: Real> Row<'_, T> {
    /// da becomes du; a is written; Σ du, Σ du·x̂ and Σ du·x of the first H heads are returned, added in the order of [`lanes::sum`].
    /// What lies between the last column and the end of a panel may be anything, before and after.
    #[inline(always)]
    pub fn run<I: Isa, const H: usize>(&self, n: usize, du: &mut [T], a: &mut [T]) -> (T, T, [T; H]) {
        let (zero, lanes, tile) = (V::<T, I>::zero(), V::<T, I>::LANES, self.pass.layout.tile);
        let (mut of_du, mut of_hat, mut of_x) =
            ([zero; MAX_LANES / 2], [zero; MAX_LANES / 2], [[zero; MAX_LANES / 2]; H]);
        let step = MAX_LANES.max(2 * lanes);
        for block in (0..n).step_by(step) {
            // Two vectors at a time: long chains of operations on one wait for the other.
            for pair in (0..step / lanes).step_by(2) {
                let k = block + pair * lanes;
                let both = [self.activate::<I>(k), self.activate::<I>(k + lanes)];
                for (u, (x_hat, y, slope)) in both.into_iter().enumerate() {
                    let (k, p) = (k + u * lanes, (pair + u) % (MAX_LANES / lanes));
                    let inside = lanes.min(n.saturating_sub(k));
                    y.store(&mut a[k..]);
                    let mut own = V::<T, I>::load(&du[k..]) * slope; // (B2)
                    own.store(&mut du[k..]);
                    let mut x_hat = x_hat;
                    if inside < lanes {
                        (own, x_hat) = (own.keep(inside, zero), x_hat.keep(inside, zero));
                    }
                    of_du[p] = of_du[p] + own;
                    of_hat[p] = own.mul_add(x_hat, of_hat[p]);
                    for t in 0..H {
                        let x = &self.x[t * tile + k..];
                        let x = if inside < lanes { V::<T, I>::load_partial(x, inside) } else { V::<T, I>::load(x) };
                        of_x[t][p] = own.mul_add(x, of_x[t][p]);
                    }
                }
            }
        }
        let mut sums = [T::ZERO; H];
        for t in 0..H {
            sums[t] = lanes::halved::<T, I>(of_x[t]);
        }
        (lanes::halved::<T, I>(of_du), lanes::halved::<T, I>(of_hat), sums)
    }

    /// x̂, a = GELU(u) and its derivative at the columns k…
    #[inline(always)]
    fn activate<I: Isa>(&self, k: usize) -> (V<T, I>, V<T, I>, V<T, I>) {
        let (Pass { a, fold, layout, d, .. }, r) = (self.pass, self.r);
        let mut x_hat = V::<T, I>::splat(fold.offset[r]);
        for (t, &w) in fold.weight[r * d.heads..(r + 1) * d.heads].iter().enumerate() {
            x_hat = V::<T, I>::splat(w).mul_add(V::<T, I>::load(&self.x[t * layout.tile + k..]), x_hat);
        }
        let (y, slope) = gelu::exact(x_hat.mul_add(V::<T, I>::splat(a.bn_weight[r]), V::<T, I>::splat(a.bn_bias[r])));
        (x_hat, y, slope)
    }
}

impl<T: Real> Pass<'_, T> {
    /// dx = Σ_r back[r, t]·du[r] for the heads t… of a group, H rows of a tile; `du` begins with its rows.                         (B5)
    #[inline(always)]
    pub fn input_gradient<I: Isa, const H: usize>(&self, n: usize, du: &[T], group: usize, t: usize, dx: &mut [T]) {
        let (d, tile, lanes) = (self.d, self.layout.tile, V::<T, I>::LANES);
        for k in (0..n).step_by(lanes) {
            let mut sums = [V::<T, I>::zero(); H];
            for (at, r) in (group * d.rows()..(group + 1) * d.rows()).enumerate() {
                let du = V::<T, I>::load(&du[at * tile + k..]);
                let back = &self.back[r * d.heads + t..][..H];
                for h in 0..H {
                    sums[h] = V::<T, I>::splat(back[h]).mul_add(du, sums[h]);
                }
            }
            for h in 0..H {
                sums[h].store(&mut dx[h * tile + k..]);
            }
        }
    }
}
