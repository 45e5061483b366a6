"""How a file is read: directives, comments, continuations, line ends, keywords, heredocs of COPY and ADD."""

from __future__ import annotations

from tests.conformance.builder.case import Area

AREA = Area("syntax")
builds, refuses = AREA.builds, AREA.refuses
TREE = {"a": "a", "b c": "bc"}

# directives
refuses(
    "escape-backtick",
    "# escape=`\nFROM localhost/box\nENV A=one` two B=c:\\dir\\\nENV C=`\n  x D=`$A E=\\$A\n",
    at=False,
)
builds("escape-backslash", "# escape=\\\nFROM localhost/box\nENV A=one\\ two \\\n  B=2\n")
builds("escape-no-blanks", "#escape=`\nFROM localhost/box\nENV A=1 `\n B=2\n")
builds("escape-upper-case", "# ESCAPE = `\nFROM localhost/box\nENV A=1 `\n B=2\n")
builds("escape-after-comment-is-comment", "# hello\n# escape=`\nFROM localhost/box\nENV A=a`b B=1 \\\n C=2\n")
refuses("escape-after-blank-is-comment", "\n# escape=`\nFROM localhost/box\nENV A=a`b \\\n C=2\n", at=False)
builds("escape-after-unknown-directive", "# unknown=1\n# escape=`\nFROM localhost/box\nENV A=a`b \\\n C=2\n")
builds("escape-after-instruction", "FROM localhost/box\n# escape=`\nENV A=a`b\n")
builds("escape-after-check", "# check=skip=all\n# escape=`\nFROM localhost/box\nENV A=1 `\n B=2\n")
refuses("escape-in-copy", "# escape=`\nFROM localhost/box\nCOPY b` c /x\nCOPY a C:\\x\n", TREE, at=False)
builds("escape-in-json", '# escape=`\nFROM localhost/box\nCMD ["a", `\n "b"]\n')
builds("check-directive", "# check=skip=JSONArgsRecommended;error=true\nFROM localhost/box\nCMD echo\n")
refuses("escape-twice", "# escape=`\n# escape=\\\nFROM localhost/box\n", at=False)
refuses("escape-bad", "# escape=x\nFROM localhost/box\n")
refuses("escape-two-characters", "# escape=``\nFROM localhost/box\n")
refuses("check-error", "# check=error=true\nFROM localhost/box\nCMD echo\n", at=False)
refuses("syntax-twice", "# check=skip=all\n# check=skip=all\nFROM localhost/box\n", at=False)
builds("directive-continued-is-not", "# escape=\\\nFROM localhost/box\nENV A=1\n")
builds("hash-bang-first", "#!/usr/bin/env docker\nFROM localhost/box\nENV A=1\n")
builds("directive-empty-value", "# escape=\nFROM localhost/box\nENV A=1 \\\n B=2\n")

# comments, blanks, continuations
builds("comments", "# one\n  # two\n\t# three\nFROM localhost/box\n#\n##\nENV A=1\n# last")
builds("comment-behind-is-no-comment", "FROM localhost/box\nENV A=1 B=#x\nCMD echo # y\nLABEL a=b#c\n")
builds("comment-in-continuation", "FROM localhost/box\nENV A=1 \\\n# no\n  # no\n B=2 \\\n#no\\\n C=3\n")
builds("blank-in-continuation", "FROM localhost/box\nENV A=1 \\\n\n\n B=2 \\\n   \n C=3\n")
builds("continuation-at-end-of-file", "FROM localhost/box\nENV A=1 \\")
builds("continuation-then-comment-at-end", "FROM localhost/box\nENV A=1 \\\n# comment")
builds("continuation-blanks-behind", "FROM localhost/box\nENV A=1 \\   \n B=2 \\\t\n C=3\n")
builds("continuation-joins-without-blank", "FROM localhost/box\nENV A=on\\\ne\nLA\\\nBEL a=b\nLABEL\\\n c=d\n")
builds("continuation-double-backslash", "FROM localhost/box\nENV A=x\\\\\nENV B=2\n")
builds("continuation-keeps-leading-blanks", "FROM localhost/box\nCMD echo a \\\n     b\n")
builds("continuation-inside-quotes", "FROM localhost/box\nLABEL a=\"x \\\n   y\" b='p\\\nq'\n")
builds("keyword-continued", "FROM \\\n localhost/box\nENV \\\n A=1\n")
builds("no-line-end", "FROM localhost/box\nENV A=1")
builds("crlf", b"FROM localhost/box\r\nENV A=1 \\\r\n  B=2\r\n# c\r\nLABEL a=b\r\n")
builds("crlf-cmd", b'FROM localhost/box\r\nCMD echo a\r\nENTRYPOINT ["x"]\r\n')
builds("cr-inside", b"FROM localhost/box\nENV A=1\rB=2\n")
builds("bom", b"\xef\xbb\xbfFROM localhost/box\nENV A=1\n")
builds("bom-directive", b"\xef\xbb\xbf# escape=`\nFROM localhost/box\nENV A=1 `\n B=2\n")
builds("tabs", b"\tFROM\tlocalhost/box\n\t\tENV\tA=1\tB=2\n")
builds("form-feed-and-vertical-tab", b"FROM localhost/box\nENV A=1\x0bB=2\x0cC=3\n")
builds("nbsp", "FROM localhost/box\nENV A=1\u00a0B=2\n")
builds("many-blank-lines", "\n\n\nFROM localhost/box\n\n\n\nENV A=1\n\n\n")
builds("keywords-any-case", "from localhost/box\nEnv A=1\nlabel A=1\nExPose 1\nworkdir /x\nuSER web\n")
builds("nul-in-value", b"FROM localhost/box\nLABEL a=x\x01y\n")
builds("long-line", "FROM localhost/box\nLABEL a=" + "x" * 60_000 + "\n")
builds("double-dash-ends-flags", "FROM localhost/box\nCOPY -- a /x\n", TREE)
builds("flag-value-quoted", "FROM localhost/box\nCOPY --chown=\"33\" a /x\nCOPY --chown='33:26' a /y\n", TREE)
builds("flags-after-source-are-paths", "FROM localhost/box\nHEALTHCHECK --retries=2 CMD x --interval=1s\n")
builds("inline-comment-in-heredoc", "FROM localhost/box\nCOPY <<E /x\n# kept\n\n \\\n E\nE\n")
refuses("empty-file", "", at=False)
refuses("only-comments", "# nothing\n\n", at=False)
refuses("unknown-instruction", "FROM localhost/box\nINSTALL x\n")
refuses("misspelt-instruction", "FROM localhost/box\nCOPPY a /x\n")
refuses("joined-keyword", "FROM localhost/box\nENVA=1\n")
refuses("no-from", "RUN true\n")
refuses("shell-line", "FROM localhost/box\necho hello\n")
refuses("json-instruction", 'FROM localhost/box\n["a"]\n')
refuses("boolean-flag-bad", "FROM localhost/box\nCOPY --link=perhaps a /x\n", TREE)
refuses("flag-single-dash", "FROM localhost/box\nCOPY -chown=1 a /x\n", TREE)
refuses("run-unknown-flag", "FROM localhost/box\nRUN --nothing true\n")
refuses("env-flag", "FROM localhost/box\nENV --x A=1\n")
refuses("workdir-flag", "FROM localhost/box\nWORKDIR --x /y\n")
refuses("merge-conflict", "FROM localhost/box\n<<<<<<< HEAD\nENV A=1\n")

# heredocs of COPY and ADD
builds("copy-heredoc", "FROM localhost/box\nCOPY <<E /x\none\ntwo\nE\n")
builds("copy-heredoc-into-directory", "FROM localhost/box\nCOPY <<E.txt /opt/\none\nE.txt\n")
builds("copy-heredoc-existing-directory", "FROM localhost/box\nCOPY <<name /opt\none\nname\n")
builds("copy-heredocs", "FROM localhost/box\nCOPY <<A <<B /x/\na\nA\nb\nB\n")
builds("copy-heredoc-and-file", "FROM localhost/box\nCOPY a <<B /x/\nb\nB\n", TREE)
builds(
    "copy-heredoc-expands",
    "FROM localhost/box\nENV V=val\nARG W=w\nCOPY <<E /x\n$V ${W} ${N:-d} \\$V \"$V\" '$V' $(x) `y`\nE\n",
)
builds("copy-heredoc-quoted", "FROM localhost/box\nENV V=val\nCOPY <<'E' /x\n$V \\$V\nE\nCOPY <<\"F\" /y\n$V\nF\n")
builds("copy-heredoc-partly-quoted", "FROM localhost/box\nENV V=val\nCOPY <<E'O'F /x\n$V\nEOF\n")
builds("copy-heredoc-chomp", "FROM localhost/box\nCOPY <<-E /x\n\tone\n\t\ttwo\n  \tthree\n\tE\n")
builds("copy-heredoc-chomp-quoted", "FROM localhost/box\nCOPY <<-'E' /x\n\t$one\n\tE\n")
builds("copy-heredoc-empty", "FROM localhost/box\nCOPY <<E /x\nE\n")
builds("copy-heredoc-blank-lines", "FROM localhost/box\nCOPY <<E /x\n\n\n  \nE\n")
builds("copy-heredoc-escapes", 'FROM localhost/box\nENV V=1\nCOPY <<E /x\na\\\nb \\n \\t \\\\ \\" end\\\nE\n')
builds("copy-heredoc-terminator-not-alone", "FROM localhost/box\nCOPY <<E /x\n E\nE \nEE\nE\n")
builds("copy-heredoc-like-instructions", "FROM localhost/box\nCOPY <<E /x\nFROM nothing\nRUN false\n# c\nE\nENV A=1\n")
builds("copy-heredoc-crlf", b"FROM localhost/box\r\nCOPY <<E /x\r\none\r\ntwo\r\nE\r\nENV A=1\r\n")
builds("copy-heredoc-variable-destination", "FROM localhost/box\nENV D=/y\nCOPY <<E $D/\none\nE\n")
builds("copy-heredoc-workdir", "FROM localhost/box\nWORKDIR /w\nUSER web\nCOPY <<E x\none\nE\nCOPY <<F ./\ntwo\nF\n")
builds("copy-heredoc-unicode", "FROM localhost/box\nCOPY <<E /x\ngr\u00fc\u00df \u65e5\nE\n")
builds(
    "copy-heredoc-over-link", "FROM localhost/box\nCOPY <<E /data/to-file\nnew\nE\nCOPY <<E /data/dangling\nnew\nE\n"
)
builds("add-heredoc", "FROM localhost/box\nADD <<E /x\none\nE\nADD <<-F /y/\n\ttwo\n\tF\n")
builds("copy-heredoc-no-line-end", "FROM localhost/box\nCOPY <<E /x\none\nE")
builds("copy-heredoc-continued", "FROM localhost/box\nCOPY <<E \\\n  /x\none\nE\n")
builds("copy-heredoc-unset", "FROM localhost/box\nCOPY <<E /x\n[$NONE]\n[${NONE}]\nE\n")
refuses("copy-heredoc-unclosed", "FROM localhost/box\nCOPY <<E /x\none\n")
refuses("copy-heredoc-bad-expansion", "FROM localhost/box\nCOPY <<E /x\n${A:?needed}\nE\n", at=False)
refuses("cmd-heredoc", "FROM localhost/box\nCMD <<E\necho\nE\n")
builds("copy-heredoc-from", "FROM localhost/box\nCOPY --from=localhost/data <<E /x\none\nE\n")
builds("run-like-heredoc-in-label", 'FROM localhost/box\nLABEL a="<<E"\n')
