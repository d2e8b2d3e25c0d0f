//! What aide documents of handlers that take a session: nothing about the session itself, which is
//! no parameter, and a 500 for an error of it.

use aide::generate::GenContext;
use aide::openapi::{Operation, Response};
use aide::{OperationInput, OperationOutput};

use crate::error::{LoadError, SessionError};
use crate::frameworks::tower::SessionOf;
use crate::session::{Session, TypedSession};

impl OperationInput for Session {}

impl<N> OperationInput for SessionOf<N> {}

impl<T> OperationInput for TypedSession<T> {}

fn failed() -> Vec<(Option<u16>, Response)> {
    let response = Response {
        description: "the session could not be used".to_owned(),
        ..Response::default()
    };
    vec![(Some(500), response)]
}

impl OperationOutput for LoadError {
    type Inner = Self;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        failed()
    }
}

impl OperationOutput for SessionError {
    type Inner = Self;

    fn inferred_responses(_: &mut GenContext, _: &mut Operation) -> Vec<(Option<u16>, Response)> {
        failed()
    }
}
