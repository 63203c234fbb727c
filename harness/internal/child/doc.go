// Package child runs an implementation in a process of its own, in any language. It trusts the
// process in nothing: neither its answers and output files, nor that it answers at all, nor that it
// ends.
//
// Everything that a child starts ends with it. On Unix it is the process group that ends, which a
// process can leave on purpose. On Windows it is a job object, which holds all but the processes
// started in the first moment, before the child is put into the job.
package child
