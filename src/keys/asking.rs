//! Polls on a thread of its own, for async code, which must not block. It needs no runtime.

use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use super::process::Inner;
use super::signals::locked;
use crate::envelope::CatchUp;

#[derive(Default)]
struct Asking {
    answer: Option<Result<(), String>>,
    waker: Option<Waker>,
}

pub(super) fn ask(inner: &Arc<Inner>) -> CatchUp {
    let asking = Arc::<Mutex<Asking>>::default();
    let (told, inner) = (Arc::clone(&asking), Arc::clone(inner));
    let work = move || {
        let answer = inner.poll().map_err(|error| error.to_string());
        let mut asking = locked(&told);
        asking.answer = Some(answer);
        if let Some(waker) = asking.waker.take() {
            waker.wake();
        }
    };
    if let Err(error) = thread::Builder::new().spawn(work) {
        return Box::pin(std::future::ready(Err(format!("no thread: {error}"))));
    }
    Box::pin(std::future::poll_fn(move |context| {
        let mut asking = locked(&asking);
        match asking.answer.take() {
            Some(answer) => Poll::Ready(answer),
            None => {
                asking.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }))
}
