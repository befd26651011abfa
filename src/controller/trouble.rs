//! What somebody who reads the log can do about a watch that fails.

use kube::runtime::watcher;

/// Where nothing listens, or nothing answers in time.
const UNREACHABLE: &str =
    "the API server cannot be reached: check the address of the cluster in the kubeconfig, and the network between";
const ABSENT: &str =
    "the API server does not know this kind: run `mfa-operator crd | kubectl apply --server-side -f -`";
const FORBIDDEN: &str = "the operator may not do this: give its user or service account the rights that docs/operations.md lists, as the chart does";
const UNAUTHENTICATED: &str =
    "the API server does not know who asks: renew the credentials in the kubeconfig, or the pod's service account";
const OTHER: &str = "look at the error, and at the API server's log";

/// What to do about it, as a sentence.
pub(super) fn advice(error: &watcher::Error) -> &'static str {
    let code = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => match error {
            kube::Error::Api(status) => status.code,
            kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_) => return UNREACHABLE,
            kube::Error::Auth(_) => return UNAUTHENTICATED,
            _ => return OTHER,
        },
        watcher::Error::WatchError(status) => status.code,
        watcher::Error::NoResourceVersion => return OTHER,
    };
    match code {
        401 => UNAUTHENTICATED,
        403 => FORBIDDEN,
        404 => ABSENT,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn an_answer_of_the_api_server_has_the_advice_of_its_code() {
        let answered = |code| {
            let status = Box::new(Status { code, ..Status::default() });
            let listed = watcher::Error::InitialListFailed(kube::Error::Api(status.clone()));
            let watched = watcher::Error::WatchError(status);
            assert_eq!(advice(&listed), advice(&watched));
            advice(&listed)
        };
        assert_eq!([401, 403, 404, 500].map(answered), [UNAUTHENTICATED, FORBIDDEN, ABSENT, OTHER]);
    }

    #[test]
    fn no_answer_is_a_server_out_of_reach() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let failed = watcher::Error::WatchFailed(kube::Error::Service(refused.into()));
        assert_eq!(advice(&failed), UNREACHABLE);
    }
}
