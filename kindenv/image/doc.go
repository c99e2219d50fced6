// Package image assembles container images in memory and streams them into the nodes of kind clusters, without a registry.
//
// Layers are stored uncompressed: nothing leaves the machine, so compressing would cost more time than it saves. Times, owners and
// order inside an image are fixed: the same files give the same digest, and a node that has that digest is left alone.
//
// ko's build package is not used here: what we need of it is one layer with one binary on an empty base, the code below, and it
// would bring the base image puller, SBOM and signing libraries into every build of devloop.
package image
