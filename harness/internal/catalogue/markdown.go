package catalogue

import (
	"fmt"
	"io"
	"regexp"
	"strings"
)

// Markdown writes the catalogue for people to read: a table of the mistakes of each family, and the
// identities.
func Markdown(w io.Writer) error {
	var text strings.Builder
	text.WriteString(`# The known mistakes

Written by ` + "`difftest mistakes --markdown`" + `; do not edit it. ` + "`difftest explain ID`" + ` shows what one looks like on a case.
Some can be made only on some cases: they need what stands in the last column but one.
`)
	for i, m := range Mistakes {
		if i == 0 || m.Family != Mistakes[i-1].Family {
			fmt.Fprintf(&text, "\n## %s\n\n", m.Family)
			row(&text, "id", "computed with", "what goes wrong", "fix", "needs", "reported")
			text.WriteString("|---|---|---|---|---|---|\n")
		}
		row(&text, "`"+m.ID+"`", plain(m.Title), plain(m.Explanation), plain(m.Fix), plain(m.Needs), link(m.Evidence))
	}
	text.WriteString(`
## No mistakes

Other ways to compute the same, some of them reported as mistakes. No output tells them from the right way.

`)
	row(&text, "id", "computed with", "why it is the same", "where", "reported")
	text.WriteString("|---|---|---|---|---|\n")
	for _, i := range Identities {
		row(&text, "`"+i.ID+"`", plain(i.Title), plain(i.Why), plain(i.Needs), link(i.Evidence))
	}
	_, err := io.WriteString(w, text.String())
	return err
}

func row(text *strings.Builder, cells ...string) {
	fmt.Fprintf(text, "| %s |\n", strings.Join(cells, " | "))
}

// plain keeps text from being taken for markup.
func plain(s string) string {
	return strings.NewReplacer(`\`, `\\`, "|", `\|`, "*", `\*`, "<", `\<`, "`", "\\`", "[", `\[`).Replace(s)
}

var thread = regexp.MustCompile(`^https://github\.com/([^/]+/[^/]+)/(?:issues|pull|discussions)/(\d+)$`)

// link names a thread as GitHub does: owner/name#1.
func link(address string) string {
	switch parts := thread.FindStringSubmatch(address); {
	case address == "":
		return ""
	case parts != nil:
		return fmt.Sprintf("[%s#%s](%s)", parts[1], parts[2], address)
	}
	return fmt.Sprintf("[there](%s)", address)
}
