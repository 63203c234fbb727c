// Package child runs an implementation in a process of its own, in any language, and trusts it in nothing: its
// answers, its output files, that it answers at all, that it ends.
//
// Everything that a child starts ends with it: on Unix the process group, which a process can leave on
// purpose; on Windows a job object, which it cannot, but for what it starts in the moment before it is put into the job.
package child
