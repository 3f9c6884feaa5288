//! Every method of [`Vector`] and every row primitive, at every level, against plain numbers.

use super::*;
use crate::testing::random;

/// Applies each method to `a`, `b`, `c`, lane by lane, through partial loads and stores of `n` lanes.
struct Methods<'a, T> {
    a: &'a [T],
    b: &'a [T],
    c: &'a [T],
}

impl<T: Real> Task for Methods<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let lanes = V::<T, I>::LANES;
        assert!(lanes <= MAX_LANES && MAX_LANES.is_multiple_of(lanes));
        for n in 0..=lanes {
            // Slices of exactly n elements: an access beyond them would be seen by the bounds check.
            let (a, b, c) = (&self.a[..n], &self.b[..n], &self.c[..n]);
            let load = |x: &[T]| V::<T, I>::load_partial(x, n);
            let check = |name: &str, result: V<T, I>, expected: &dyn Fn(T, T, T) -> T| {
                let mut y = [T::NAN; MAX_LANES];
                result.store_partial(&mut y[..n], n);
                for l in 0..n {
                    let e = expected(a[l], b[l], c[l]);
                    assert!(y[l] == e || (y[l].is_nan() && e.is_nan()), "{name} lane {l} of {n}: {:?} {e:?}", y[l]);
                }
                assert!(y[n..].iter().all(|v| v.is_nan()), "{name} wrote past {n}");
            };
            check("add", load(a) + load(b), &|a, b, _| a + b);
            check("sub", load(a) - load(b), &|a, b, _| a - b);
            check("mul", load(a) * load(b), &|a, b, _| a * b);
            check("div", load(a) / load(b), &|a, b, _| a / b);
            check("neg", -load(a), &|a, _, _| -a);
            check("mul_add", load(a).mul_add(load(b), load(c)), &|a, b, c| a * b + c);
            check("abs", load(a).abs(), &|a, _, _| if a < T::ZERO { -a } else { a });
            check("max", load(a).max(load(b)), &|a, b, _| if a > b || a.is_nan() { a } else { b });
            check("at_least", V::<T, I>::at_least(V::<T, I>::zero(), load(a)), &|a, _, _| {
                if T::ZERO > a { T::ZERO } else { a }
            });
            check("at_most", V::<T, I>::at_most(V::<T, I>::zero(), load(a)), &|a, _, _| {
                if T::ZERO < a { T::ZERO } else { a }
            });
            check("floor", load(a).floor(), &|a, _, _| T::from_f64(a.to_f64().floor()));
            check("splat", V::<T, I>::splat(T::from_f64(1.5)), &|_, _, _| T::from_f64(1.5));
            check("scale_pow2", load(a).scale_pow2(V::<T, I>::splat(T::from_f64(-40.0))), &|a, _, _| {
                a * T::from_f64(2f64.powi(-40))
            });
            let mut y = [T::NAN; MAX_LANES];
            load(a).keep(n, V::<T, I>::splat(T::ONE)).store(&mut y);
            assert!(
                y[n..lanes].iter().all(|&v| v == T::ONE) && y[..n].iter().zip(a).all(|(y, a)| y == a || a.is_nan())
            );
            load(a).store(&mut y);
            assert!(y[n..lanes].iter().all(|&v| v == T::ZERO), "the other lanes of a partial load are zero");
            let full = |x: &[T]| V::<T, I>::load(x);
            let all = &self.b[..lanes];
            assert_eq!(full(all).reduce_sum(), all.iter().fold(T::ZERO, |s, &x| s + x));
            assert_eq!(full(all).reduce_max(), all.iter().fold(T::NEG_INFINITY, |m, &x| if x > m { x } else { m }));
            for l in 0..lanes {
                let mut bad = all.to_vec();
                bad[l] = T::NAN;
                assert!(full(&bad).reduce_max().is_nan() && full(&bad).reduce_sum().is_nan());
            }
            for stride in 1..4 {
                V::<T, I>::load_strided(self.b, stride, n).store(&mut y);
                assert!((0..lanes).all(|l| y[l] == if l < n { self.b[l * stride] } else { T::ZERO }));
            }
        }
    }
}

struct Rows<'a, T>(&'a [T], &'a [T]);

impl<T: Real> Task for Rows<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let Rows(x, y) = self;
        let a = T::from_f64(-1.5);
        let each = |f: &dyn Fn(T, T) -> T| x.iter().zip(y).map(|(&x, &y)| f(x, y)).collect::<Vec<_>>();
        let changed = |f: &dyn Fn(&mut [T])| {
            let mut y = y.to_vec();
            f(&mut y);
            y
        };
        assert_eq!(changed(&|y| axpy::<T, I>(a, x, y)), each(&|x, y| a * x + y));
        assert_eq!(changed(&|y| add_assign::<T, I>(x, y)), each(&|x, y| x + y));
        assert_eq!(changed(&|y| scale::<T, I>(a, y)), each(&|_, y| a * y));
        assert_eq!(sum::<T, I>(x), x.iter().fold(T::ZERO, |s, &x| s + x));
        assert_eq!(dot::<T, I>(x, y), x.iter().zip(y).fold(T::ZERO, |s, (&x, &y)| s + x * y));
        assert_eq!(max::<T, I>(x), x.iter().fold(T::NEG_INFINITY, |m, &x| if x > m { x } else { m }));
        let mut e = y.to_vec();
        let total = exp_sum::<T, I>(x, T::ONE, &mut e).to_f64();
        assert!((total - e.iter().map(|e| e.to_f64()).sum::<f64>()).abs() <= 1e-6 * total);
        assert!(x.iter().zip(&e).all(|(&x, e)| ((x - T::ONE).exp() / *e - T::ONE).to_f64().abs() < 1e-6));
        for k in 0..x.len() {
            let mut bad = x.to_vec();
            bad[k] = T::NAN;
            assert!(max::<T, I>(&bad).is_nan() && sum::<T, I>(&bad).is_nan());
        }
    }
}

fn at_every_level<T: Real>() {
    for level in Level::available() {
        let (mut a, b, c) = (random::<T>(64, 1), random::<T>(64, 2), random::<T>(64, 3));
        let b: Vec<T> = b.iter().map(|&b| if b == T::ZERO { T::ONE } else { b }).collect();
        level.run(Methods { a: &a, b: &b, c: &c });
        a[0] = T::NAN;
        a[3] = T::NEG_INFINITY;
        level.run(Methods { a: &a, b: &b, c: &c });
        for n in 0..50 {
            level.run(Rows(&random::<T>(n, 4), &random::<T>(n, 5)));
        }
    }
}

#[test]
fn f32_at_every_level() {
    at_every_level::<f32>();
}

#[test]
fn f64_at_every_level() {
    at_every_level::<f64>();
}

/// Reductions add in the same order at every level; only fused products differ.
#[test]
fn sums_have_the_same_bits_at_every_level() {
    struct Sum<'a>(&'a [f32]);
    impl Task for Sum<'_> {
        type Out = f32;
        #[inline(always)]
        fn run<I: Isa>(self) -> f32 {
            sum::<f32, I>(self.0)
        }
    }
    for n in 0..100 {
        let x: Vec<f32> = (0..n).map(|k| 1.0 / (k as f32 + 3.0)).collect();
        let sums: Vec<_> = Level::available().iter().map(|level| level.run(Sum(&x)).to_bits()).collect();
        assert!(sums.iter().all(|s| *s == sums[0]), "{n} {sums:?}");
    }
}

#[test]
fn unknown_level_is_an_error_that_lists_the_known() {
    let error = Level::from_name("mmx").unwrap_err();
    assert!(error.contains("mmx") && error.contains("portable"), "{error}");
    assert_eq!(Level::from_name(Level::best().name()), Ok(Level::best()));
}
