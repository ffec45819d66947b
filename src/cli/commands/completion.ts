// SPDX-License-Identifier: BSD-2-Clause
import { Args } from '@oclif/core';
import { BaseCommand } from '../base.js';
import { bashCompletion, completionTree, fishCompletion, zshCompletion } from '../completion.js';
import { output } from '../output.js';

const GENERATORS = { bash: bashCompletion, zsh: zshCompletion, fish: fishCompletion };

export default class Completion extends BaseCommand {
  static override summary = 'Print the completion script for a shell.';
  static override description =
    'The script is static: it runs no amptcp when it completes. Packages install it for everyone.';
  static override examples = [
    {
      description:
        'bash, for this session; to keep it, put it into ~/.local/share/bash-completion/completions/amptcp',
      command: 'source <(<%= config.bin %> completion bash)',
    },
    {
      description: 'zsh, into a folder of $fpath',
      command: '<%= config.bin %> completion zsh > ~/.zfunc/_amptcp',
    },
    {
      description: 'fish',
      command: '<%= config.bin %> completion fish > ~/.config/fish/completions/amptcp.fish',
    },
  ];
  static override args = {
    shell: Args.string({
      description: 'Shell.',
      required: true,
      options: Object.keys(GENERATORS),
      ignoreStdin: true,
    }),
  };

  async run() {
    const { args } = await this.parse(Completion);
    const script = GENERATORS[args.shell as keyof typeof GENERATORS](completionTree(this.config));
    if (!this.jsonEnabled()) output.stdout(script);
    return { shell: args.shell, script };
  }
}
