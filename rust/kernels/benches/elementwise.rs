//! Operators whose time is memory and the exponential.

mod harness;

use harness::{GB, report};
use pyhybrid_kernels::exec::Exec;
use pyhybrid_kernels::lanes::{Isa, Task, V, Vector};
use pyhybrid_kernels::real::Real;
use pyhybrid_kernels::{shift, softmax, unfold};

struct Exp<'a, T> {
    x: &'a [T],
    y: &'a mut [T],
}

impl<T: Real> Task for Exp<'_, T> {
    type Out = ();
    #[inline(always)]
    fn run<I: Isa>(self) {
        let lanes = V::<T, I>::LANES;
        for (x, y) in self.x.chunks_exact(lanes).zip(self.y.chunks_exact_mut(lanes)) {
            V::<T, I>::load(x).exp().store(y);
        }
    }
}

/// In the level-1 cache, so that arithmetic is measured.
fn exp<T: Real>(name: &str) {
    let x: Vec<T> = (0..2048).map(|k| T::from_f64(k as f64 * 0.01 - 10.0)).collect();
    let mut y = x.clone();
    let repeat = 200;
    report(name, (2048 * repeat) as f64, ("G elements/s", 1e9), |exec| {
        for _ in 0..repeat {
            exec.run(Exp { x: &x, y: &mut y });
        }
    });
}

fn softmax<T: Real>(name: &str, shape: &[usize], axis: isize) {
    let d = softmax::Dims::new(shape, axis).unwrap();
    let n: usize = shape.iter().product();
    let x: Vec<T> = (0..n).map(|k| T::from_f64((k % 97) as f64 * 0.1)).collect();
    let (mut a, mut dx) = (x.clone(), x.clone());
    let bytes = (n * size_of::<T>()) as f64;
    report(&format!("softmax forward {name}"), 2.0 * bytes, GB, |exec| softmax::forward(&x, &mut a, &d, exec).unwrap());
    report(&format!("softmax backward {name}"), 3.0 * bytes, GB, |exec| {
        softmax::backward(&x, &a, &mut dx, &d, exec).unwrap();
    });
}

fn planes() {
    let shape = [8, 64, 56, 56];
    let n: usize = shape.iter().product();
    let (x, mut y) = (vec![1f32; n], vec![0f32; n]);
    let d = shift::Dims::new(&shape, (1, -1)).unwrap();
    report("shift forward 8x64x56x56", 8.0 * n as f64, GB, |exec| shift::forward(&x, &mut y, &d, exec).unwrap());

    let d = unfold::Dims::new(&shape, (3, 3), (1, 1)).unwrap();
    let unfolded: usize = d.shape().iter().product();
    let mut y = vec![0f32; unfolded];
    let bytes = 4.0 * (n + unfolded) as f64;
    let mut dx = x.clone();
    report("unfold forward 3x3 8x64x56x56", bytes, GB, |exec| unfold::forward(&x, &mut y, &d, exec).unwrap());
    report("unfold backward 3x3 8x64x56x56", bytes, GB, |exec| unfold::backward(&y, &mut dx, &d, exec).unwrap());
}

/// One empty parallel call.
fn dispatch() {
    report("for_each of 64 empty tasks", 1.0, ("calls/s", 1.0), |exec: &Exec| {
        exec.for_each(1 << 30, 0..64, |_| ()).unwrap()
    });
}

fn main() {
    exp::<f32>("exp f32");
    exp::<f64>("exp f64");
    softmax::<f32>("f32 100352x49 last axis", &[100_352, 49], -1);
    softmax::<f64>("f64 100352x49 last axis", &[100_352, 49], -1);
    softmax::<f32>("f32 8x64x3136 axis 1", &[8, 64, 3136], 1);
    planes();
    dispatch();
}
