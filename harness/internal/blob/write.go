package blob

import (
	"bufio"
	"io"

	"github.com/go-json-experiment/json"
)

// Write writes a blob.
func (b *Blob) Write(w io.Writer) error {
	out := bufio.NewWriter(w)
	saw := b.Observed
	err := writeLine(out, header{
		Version: Version, Layout: layout(), Run: b.Run, Shard: b.Shard, Subject: b.Subject, Failure: b.Failure,
		Took: b.Took, Declared: saw.Precision, Replies: saw.Replies, Results: len(saw.Probed),
		Broken: saw.Broken, General: saw.General,
	})
	for i, r := range saw.Probed {
		if err == nil {
			err = writeLine(out, entry{r, saw.Judged[i].Diagnosis.Class, saw.Judged[i].Proven})
		}
	}
	if err != nil {
		return err
	}
	return out.Flush()
}

func writeLine(w *bufio.Writer, value any) error {
	if err := json.MarshalWrite(w, value, writing); err != nil {
		return err
	}
	return w.WriteByte('\n')
}
