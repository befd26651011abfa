use kube::Resource as _;

use super::*;

#[test]
fn the_group_is_the_one_of_the_derive() {
    assert_eq!(MfaServer::group(&()), GROUP);
    assert_eq!(MfaServer::plural(&()), "mfaservers");
}
