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
		Short: "Write inputs and parameters into a folder, for a machine without difftest",
		Long: `export writes a folder for every case: request.json, which says what is to be computed, and the inputs and
parameters that it names, as .npy files. Save each output as DIR/CASE/output.npy, and attention weights, where
request.json asks for them, as DIR/CASE/weights.npy; then difftest check DIR judges them.

What DIR holds already is never overwritten: a second export of the same suite keeps the outputs, and any
other file is an error.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			fsys, selected, err := selection.cases(&suite)
			if err != nil {
				return err
			}
			if err := protocol.Export(fsys, args[0], selected...); errors.Is(err, fs.ErrExist) {
				return exit(exitUsage, "%w", err)
			} else if err != nil {
				return exit(exitBroken, "%w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%d cases, each with a %s. Save the outputs beside them, for instance %s, then\n  difftest check %s%s%s\n",
				len(selected), protocol.RequestFile, path.Join(args[0], selected[0], protocol.OutputFile), shellWord(args[0]), selection.flags(), suite.flag())
			return nil
		},
		ValidArgsFunction: folders,
	}
	suite.add(cmd)
	selection.add(cmd, &suite)
	return cmd
}

// folders completes the argument of a command that takes one folder.
func folders(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveFilterDirs
}
