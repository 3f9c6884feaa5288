use super::*;
use crate::testing::{difference, each_exec, random, unwritten};

fn check<T: Real>(images: usize, channels: usize, inner: usize, training: bool, tolerance: f64) {
    let len = images * channels * inner;
    let (x, dy) = (random::<T>(len, 1), random::<T>(len, 2));
    let (weight, bias) = (random::<T>(channels, 3), random::<T>(channels, 4));
    let (mut mean, mut var) = (random::<T>(channels, 5), vec![T::ONE; channels]);
    let (mut y, mut dx) = (vec![T::ZERO; len], vec![T::ZERO; len]);
    let [mut dweight, mut dbias, mut dmean, mut dvar] = [(); 4].map(|()| vec![T::ZERO; channels]);
    let count = T::from_usize(images * inner);
    for c in 0..channels {
        let places: Vec<_> =
            (0..images).flat_map(|n| (0..inner).map(move |i| (n * channels + c) * inner + i)).collect();
        if training {
            mean[c] = places.iter().fold(T::ZERO, |s, &k| s + x[k]) / count; // (F1)
            var[c] = places.iter().fold(T::ZERO, |s, &k| s + (x[k] - mean[c]) * (x[k] - mean[c])) / count; // (F2)
        }
        let r = T::ONE / (var[c] + T::from_f64(1e-3)).sqrt();
        for &k in &places {
            let x_hat = (x[k] - mean[c]) * r; // (F3)
            y[k] = weight[c] * x_hat + bias[c]; // (F4)
            dbias[c] += dy[k]; // (B1)
            dweight[c] += dy[k] * x_hat; // (B2)
            dmean[c] -= weight[c] * dy[k] * r; // (B6)
            dvar[c] -= T::from_f64(0.5) * weight[c] * dy[k] * x_hat * r * r; // (B7)
        }
        for &k in &places {
            let x_hat = (x[k] - mean[c]) * r;
            let common = weight[c] * (dbias[c] + x_hat * dweight[c]) / count;
            dx[k] = r * (weight[c] * dy[k] - if training { common } else { T::ZERO }); // (B3) (B4) (B5)
        }
    }
    let d = Dims::new(&[images, channels, inner], &[("weight", &[channels])], training, 1e-3).unwrap();
    each_exec(|exec| {
        let (mut y1, mut mean1, mut var1) = (unwritten(len), mean.clone(), var.clone());
        forward(&x, &weight, &bias, &mut y1, &mut mean1, &mut var1, &d, exec).unwrap();
        let [mut dx1, mut dweight1, mut dbias1, mut dmean1, mut dvar1] =
            [len, channels, channels, channels, channels].map(unwritten);
        let saved = Saved { dy: &dy[..], x: &x[..], weight: &weight, mean: &mean1, var: &var1 };
        let running = (!training).then_some((&mut dmean1[..], &mut dvar1[..]));
        let gradients = Gradients { dx: &mut dx1, dweight: &mut dweight1, dbias: &mut dbias1, running };
        backward(saved, gradients, &d, exec).unwrap();
        let found = [(&y1, &y), (&mean1, &mean), (&var1, &var), (&dx1, &dx), (&dweight1, &dweight), (&dbias1, &dbias)];
        let evaluated = [(&dmean1, &dmean), (&dvar1, &dvar)];
        for (found, expected) in found.into_iter().chain(evaluated.into_iter().filter(|_| !training)) {
            assert!(difference(found, expected) < tolerance, "{d:?} {:?}", exec.level());
        }
    });
}

#[test]
fn literal_loops() {
    let several_tasks = [(2, 3, 30_000), (3, 1500, 17)];
    let sizes = [(1, 3, 1), (5, 4, 1), (3, 2, 7), (2, 3, 63), (2, 3, 64), (2, 2, 131), (1, 2, 9000)];
    for (images, channels, inner) in sizes.into_iter().chain(several_tasks) {
        let each = Dims::new(&[images, channels, inner], &[], true, 1e-3).expect("sizes fit").each();
        assert_eq!(channels > each, several_tasks.contains(&(images, channels, inner)));
        for training in [true, false] {
            check::<f32>(images, channels, inner, training, 1e-4);
            check::<f64>(images, channels, inner, training, 1e-12);
        }
    }
    check::<f32>(0, 3, 2, false, 1e-6);
    check::<f32>(2, 3, 0, false, 1e-6);
    check::<f32>(2, 0, 3, true, 1e-6);
}

#[test]
fn c1_to_c5() {
    assert!(Dims::new(&[3], &[], true, 1e-5).is_err() && Dims::new(&[2, 3], &[("bias", &[2])], true, 1e-5).is_err());
    assert!(Dims::new(&[0, 3], &[], true, 1e-5).is_err() && Dims::new(&[0, 3], &[], false, 1e-5).is_ok());
    assert!(Dims::new(&[2, 3, 0], &[], true, 1e-5).is_err() && Dims::new(&[2, 3], &[], true, 0.0).is_err());
    assert!(Dims::new(&[2, 3, usize::MAX, 4], &[], true, 1e-5).is_err());
}
