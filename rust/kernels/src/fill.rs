//! y[k] = the k-th term, vector by vector: the last step of every kernel that goes through an array once.

use crate::lanes::{Isa, Row, Task, V, Vector};
use crate::real::Real;
use crate::sums::Terms;

/// Writes the terms 0..y.len().
pub struct Fill<'a, T, S> {
    pub terms: S,
    pub y: &'a mut [T],
    /// Whether the array that y is a part of [`is_large`](crate::lanes::is_large).
    pub large: bool,
}

impl<T: Real, S: Terms<T>> Task for Fill<'_, T, S> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let (n, lanes) = (self.y.len(), V::<T, I>::LANES);
        let (mut y, mut k) = (Row::new(self.y, self.large), 0);
        // Two vectors at a time where registers allow: long chains of operations on one wait for the other.
        while I::REGISTERS >= 32 && k + 2 * lanes <= n {
            let (first, second) = (self.terms.load::<I>(k), self.terms.load::<I>(k + lanes));
            y.put::<I>(k, first);
            y.put::<I>(k + lanes, second);
            k += 2 * lanes;
        }
        while k + lanes <= n {
            y.put::<I>(k, self.terms.load::<I>(k));
            k += lanes;
        }
        y.put_partial::<I>(k, n - k, self.terms.load_partial::<I>(k, n - k));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{each_exec, random, unwritten};

    fn check<T: Real>() {
        for n in (0..70).chain([1000]) {
            let x = random::<T>(n, 1);
            each_exec(|exec| {
                let mut y = unwritten::<T>(n + 1);
                exec.run(Fill { terms: &x[..], y: &mut y[..n], large: n % 2 == 0 });
                assert_eq!(y[..n], x, "{n} {:?}", exec.level());
                assert!(y[n].is_nan());
            });
        }
    }

    #[test]
    fn every_term_and_no_more() {
        check::<f32>();
        check::<f64>();
    }
}
