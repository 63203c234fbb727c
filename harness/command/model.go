package command

import (
	"github.com/spf13/cobra"

	"github.com/difftest/difftest/harness/internal/check"
	"github.com/difftest/difftest/harness/internal/fixture"
	"github.com/difftest/difftest/harness/internal/fresh"
)

// modelFlags name a captured module by its case. flag is the flag of the name.
type modelFlags struct {
	flag  string
	name  string
	suite suiteFlag // that holds the case
}

// model returns the module, nil if none is named.
func (f *modelFlags) model() (*fresh.Model, error) {
	if f.name == "" {
		return nil, nil
	}
	suite, err := f.suite.open()
	if err != nil {
		return nil, err
	}
	c, err := fixture.Read(suite, f.name)
	if err != nil {
		return nil, exit(exitBroken, "--%s: %w", f.flag, err)
	}
	m, err := fresh.NewModel(c)
	if err != nil {
		return nil, exit(exitUsage, "--%s: %w", f.flag, err)
	}
	return m, nil
}

// newCase makes a case with its truth: of the module, or of attention if none is named.
func (f *modelFlags) newCase(cmd *cobra.Command, name string, config fresh.Config) (*fixture.Case, error) {
	model, err := f.model()
	if err != nil {
		return nil, err
	}
	var c *fixture.Case
	if model == nil {
		if config.Tokens != 0 {
			return nil, exit(exitUsage, "--tokens: only with --model")
		}
		c, err = fresh.Case(name, config)
	} else if config, err = ofModel(cmd, model, config); err == nil {
		c, err = model.Case(name, config)
	}
	if err != nil {
		return nil, exit(exitUsage, "%w", err)
	}
	if err := check.SetTruth(cmd.Context(), c); err != nil {
		return nil, exit(exitBroken, "%w", err)
	}
	return c, nil
}

// ofModel returns the configuration of a module. Options of attention are refused.
func ofModel(cmd *cobra.Command, m *fresh.Model, given fresh.Config) (fresh.Config, error) {
	own := m.Default()
	fields := map[string]bool{}
	for _, f := range own.Fields() {
		fields[f.Name] = true
	}
	for _, f := range given.Fields() {
		if cmd.Flags().Changed(f.Name) && !fields[f.Name] {
			return own, exit(exitUsage, "--%s: only without --model", f.Name)
		}
	}
	own.Batch, own.Mask, own.Seed = given.Batch, given.Mask, given.Seed
	if given.Tokens != 0 {
		own.Tokens = given.Tokens
	}
	return own, nil
}
