//! What a server does most, step by step: its time by `cargo bench -p parlor-hub`, its instructions
//! and allocations by `.ci/instructions`, which asks for the names of the steps (`--steps`) and for
//! a step so many times (`--count STEP TIMES`).
#![allow(clippy::print_stdout, reason = "names are asked for")]

mod state;
mod turns;

use std::env;

use criterion::Criterion;

/// A step that can be repeated for ever.
type Step = Box<dyn FnMut()>;

/// Makes what a step needs, once, and the step.
type Make = fn() -> Step;

fn main() {
    let steps = state::STEPS.iter().chain(turns::STEPS);
    let mut arguments = env::args().skip(1);
    let task = arguments.next();
    if task.as_deref() == Some("--steps") {
        return steps.for_each(|(name, _)| println!("{name}"));
    }
    if task.as_deref() != Some("--count") {
        let mut criterion = Criterion::default().configure_from_args();
        for (name, step) in steps {
            criterion.bench_function(name, |bencher| bencher.iter(step()));
        }
        return criterion.final_summary();
    }
    let name = arguments.next().unwrap_or_default();
    let times = arguments.next().and_then(|times| times.parse().ok());
    let step = steps.clone().find(|(each, _)| *each == name);
    let (Some((_, step)), Some(times)) = (step, times) else {
        let names: Vec<&str> = steps.map(|(name, _)| *name).collect();
        panic!("--count STEP TIMES, where STEP is one of {names:?}");
    };
    let mut step = step();
    (0_u32..times).for_each(|_| step());
}
