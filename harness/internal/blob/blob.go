// Package blob keeps what one shard of a run observed in a file, and reads it again. A blob is read
// as any other file that nobody vouches for: its size is bounded, and everything in it must fit the
// cases of the suite.
package blob

import (
	"time"

	"github.com/difftest/difftest/harness/internal/report"
	"github.com/difftest/difftest/harness/internal/shard"
)

// Version is the version of the format. The layout of the results is part of every blob besides,
// because they are stored as this version of difftest has them.
const Version = 1

// Run holds what all shards of one run have in common.
type Run struct {
	Tool      string // "difftest v1.2.0"
	SuiteHash string
	About     string   // the subject as the command line names it
	Precision string   // that the command line declares
	Flags     []string // that change results: "--once", "--timeout 2s"
	Known     string   // text of the list of expected failures
	Cases     []string // of all shards, in their order
}

// Blob holds one shard of a run.
type Blob struct {
	Run
	Shard    shard.Shard
	Subject  string          // its own name for itself
	Failure  *report.Failure // why there are no results; nil if there may be some
	Observed report.Observed
	Took     time.Duration // 0 if nobody measured it
}

// New returns the blob of a report. The results keep their times and the commands that run them
// again, as far as the report has them.
func New(run Run, s shard.Shard, r *report.Report) *Blob {
	if s.Count == 0 {
		s = shard.Shard{Index: 1, Count: 1}
	}
	b := &Blob{Run: run, Shard: s, Subject: r.Subject, Failure: r.Failure, Took: r.Took}
	if r.Observed == nil {
		return b
	}
	b.Observed = *r.Observed
	b.Observed.Probed = append([]report.Result(nil), r.Observed.Probed...)
	for i := range b.Observed.Probed {
		b.Observed.Probed[i].Rerun, b.Observed.Probed[i].Took = r.Results[i].Rerun, r.Results[i].Took
	}
	return b
}
