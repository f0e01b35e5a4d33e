//! Every seed, and some thousand inputs made from the seeds, through the bodies of the fuzz targets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;

use logmill_fuzz::TARGETS;

/// Variants of each seed: cut off, and with a byte changed.
const CUTS: usize = 16;
const CHANGES: usize = 64;

#[test]
fn every_seed_is_answered() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("seeds")
            .join(target.name);
        let mut seeds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            (target.run)(&seed);
            for cut in 0..CUTS {
                (target.run)(&seed[..seed.len() * cut / CUTS]);
            }
            for change in 0..CHANGES {
                let mut changed = seed.clone();
                // The changes are the same in every run, and spread over the seed.
                let at = (change * 2_654_435_761) % changed.len();
                changed[at] ^= 1 << (change % 8);
                (target.run)(&changed);
            }
            seeds += 1;
        }
        assert!(seeds > 0, "{} has no seed", target.name);
    }
}
