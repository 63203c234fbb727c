package command

import (
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/protocol"
)

func exportCommand() *cobra.Command {
	var suite suiteFlag
	var selection selectionFlags
	cmd := &cobra.Command{
		Use:   "export DIR",
		Short: "Write inputs and parameters for a machine without difftest",
		Long: `export writes a folder for every case. It holds request.json, which says what to
compute, and the inputs and parameters as .npy files. Save each output as
DIR/CASE/output.npy. If request.json asks for attention weights, save them as
DIR/CASE/weights.npy. Then difftest check DIR judges them.

export overwrites nothing. A second export of the same suite keeps the outputs.
Any other file in DIR is an error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fsys, selected, err := selection.cases(&suite)
			if err != nil {
				return err
			}
			_, err = unlessInterrupted(cmd.Context(), func() (struct{}, error) {
				return struct{}{}, protocol.Export(fsys, args[0], selected...)
			})
			switch {
			case cmd.Context().Err() != nil:
				return err
			case errors.Is(err, fs.ErrExist):
				return exit(exitUsage, "%w", err)
			case err != nil:
				return exit(exitBroken, "%w", err)
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%d cases, each with a %s. ", len(selected), protocol.RequestFile)
			fmt.Fprintf(out, "Save the outputs beside them, for instance\n  %s\nthen run\n  difftest check %s%s%s\n",
				path.Join(args[0], selected[0], protocol.OutputFile),
				shellWord(args[0]), selection.flags(), suite.flag())
			return nil
		},
		ValidArgsFunction: folders,
	}
	suite.add(cmd)
	selection.add(cmd, &suite)
	return cmd
}

// folders completes the argument of a command whose only argument is a folder.
func folders(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}
