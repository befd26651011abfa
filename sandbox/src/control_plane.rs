//! A local etcd and kube-apiserver, started from the folder that `make tools` builds.
