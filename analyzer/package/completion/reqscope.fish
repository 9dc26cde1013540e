# fish completion for reqscope

function __reqscope_list
    echo '@OPTIONS@'
end

# Whether the cursor is behind the command that is to be run.
function __reqscope_runs
    string match -q -- -- (commandline -opc)
end

# What would complete behind the "--" by itself.
function __reqscope_run_command
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l from (contains -i -- -- $words)
    complete -C (string join ' ' -- (string escape -- $words[(math $from + 1)..-1]) $last)
end

function __reqscope_begins
    test (count (commandline -opc)) -eq 1
end

function __reqscope_is
    set -l words (commandline -opc)
    test (count $words) -gt 1; and test $words[2] = $argv[1]; and not __reqscope_runs
end

complete -c reqscope -f
complete -c reqscope -n __reqscope_begins -l help -d 'this text'
complete -c reqscope -n __reqscope_begins -l version -d 'the version'

__reqscope_list | while read -l -d \t command name what text
    set -l is complete -c reqscope -n "__reqscope_is $command"
    set -l option
    switch $name
        case '--*'
            set option -l (string sub -s 3 -- $name)
        case '-*'
            set option -s (string sub -s 2 -- $name)
    end
    switch $what
        case none
            $is $option -d $text
        case any
            $is $option -x -d $text
        case file
            $is $option -r -F -d $text
        case '=*'
            $is $option -x -a (string sub -s 2 -- $what | string replace -a , ' ') -d $text
    end
    test $name = command; or continue
    complete -c reqscope -n __reqscope_begins -a $command -d $text
    switch $what
        case trace
            $is -a '(__fish_complete_suffix .rqs)'
        case pid
            $is -a '(__fish_complete_pids)'
        case command
            complete -c reqscope -n __reqscope_runs -a '(__reqscope_run_command)'
            $is -a '(__fish_complete_command)'
        case '*'
            $is -a '(__fish_complete_pids; __fish_complete_command)' -F
    end
end
